import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "realtime-client";
import { RealtimeProvider } from "realtime-client/react";
import { App } from "./App.js";
import { endpoint } from "./api.js";
import "./style.css";

const client = connect(endpoint);
const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <RealtimeProvider client={client}>
        <App />
      </RealtimeProvider>
    </StrictMode>,
  );
}
