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
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = req.http.Connection;
    } else {
        # One request for each connection: those that follow would pass by `vcl_recv`.
        set bereq.http.Connection = "close";
    }
}
