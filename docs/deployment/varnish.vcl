# /etc/varnish/default.vcl

vcl 4.1;

backend app {
    .host = "127.0.0.1";
    .port = "3000";
}

sub vcl_recv {
    if (req.url ~ "^/__realtime/") {
        # The client's address, and nothing that the client says of it.
        set req.http.X-Forwarded-For = client.ip;
        unset req.http.Forwarded;

        # Bytes as they come, in both directions, and a client that leaves ends its request at the server.
        return (pipe);
    }
}

sub vcl_pipe {
    # One request for each connection: one that follows, be it a refused WebSocket, would pass by `vcl_recv` and could
    # claim any address.
    set bereq.http.Connection = "close";
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = "Upgrade, close";
    }
}
