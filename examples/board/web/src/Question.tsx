import { useEffect, useRef, useState } from "react";
import { useAnswer } from "realtime-client/react";
import { api } from "./api.js";

/** Questions of the server's, answered by the person at the page. */
export function Question() {
  const [asked, ask] = useState<{ question: string; answer: (yes: boolean) => void }>();
  const dialog = useRef<HTMLDialogElement>(null);
  useAnswer(api.confirm, (question, { signal }) => {
    return new Promise<boolean>((resolve) => {
      const answer = (yes: boolean) => {
        ask(undefined);
        resolve(yes);
      };
      // The server does not wait any more.
      signal.addEventListener("abort", () => answer(false));
      ask({ question, answer });
    });
  });
  useEffect(() => {
    if (asked) dialog.current?.showModal();
    else dialog.current?.close();
  }, [asked]);
  return (
    <dialog ref={dialog} aria-labelledby="question" data-testid="question" onCancel={() => asked?.answer(false)}>
      <p id="question">{asked?.question}</p>
      <div className="buttons">
        <button type="button" className="quiet" onClick={() => asked?.answer(false)}>
          Keep
        </button>
        <button type="button" onClick={() => asked?.answer(true)}>
          Remove
        </button>
      </div>
    </dialog>
  );
}
