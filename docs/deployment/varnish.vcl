# /etc/varnish/default.vcl

vcl 4.1;

backend app {
    .host = "127.0.0.1";
    .port = "3000";
}

sub vcl_recv {
    if (req.url ~ "^/__realtime/") {
        # The client's address, without the client's own claims.
        set req.http.X-Forwarded-For = client.ip;
        unset req.http.Forwarded;

        # Passes bytes on at once in both directions. When a client leaves, its request at the server ends.
        return (pipe);
    }
}

sub vcl_pipe {
    # One request for each connection: further ones, even after a refused WebSocket, would bypass `vcl_recv` and could
    # claim any address.
    set bereq.http.Connection = "close";
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = "Upgrade, close";
    }
}
