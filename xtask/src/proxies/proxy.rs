//! The proxies: their configurations, which are those of the documentation, and their command lines.

use std::{fs, path::Path};

use super::process::{Server, free_port};
use crate::command::{Outcome, program, repository, works};
use crate::debian;

pub(super) struct Proxy {
    pub(super) name: &'static str,
    program: &'static str,
    package: &'static str,
    /// The file name in `docs/deployment`.
    config: &'static str,
    /// The prefix of the server's own paths, which is stripped.
    pub(super) prefix: &'static str,
    /// The surrounding text, if the configuration is only part of a file.
    around: Option<&'static str>,
    /// The arguments, with `FOLDER` for the folder of the files, and the proxy's port.
    arguments: &'static [&'static str],
    /// The time at which the server notices that a client has left its stream of events.
    pub(super) events_left: Notice,
    /// The time at which it notices that a client has left its call.
    pub(super) call_left: Notice,
    /// Other settings, whose effect on these times is measured.
    pub(super) otherwise: &'static [Change],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Notice {
    AtOnce,
    /// When the next comment of the stream, or the one after it, cannot be written.
    ByComments,
    /// When the proxy stops waiting for the response, or the call ends first.
    ByTimeout,
}

/// A change of a configuration.
pub(super) struct Change {
    pub(super) name: &'static str,
    from: &'static str,
    to: &'static str,
}

pub(super) const PROXIES: [Proxy; 7] = [
    Proxy {
        name: "nginx",
        program: "nginx",
        package: "nginx",
        config: "nginx.conf",
        prefix: "",
        around: Some(NGINX),
        arguments: &["-p", "FOLDER", "-e", "stderr", "-c", "FOLDER/around"],
        events_left: Notice::AtOnce,
        call_left: Notice::AtOnce,
        otherwise: &[
            Change {
                name: "proxy_ignore_client_abort on",
                from: "proxy_buffering off;",
                to: "proxy_ignore_client_abort on;",
            },
            Change { name: "proxy_buffering on", from: "proxy_buffering off;", to: "proxy_buffering on;" },
        ],
    },
    Proxy {
        name: "nginx-prefix",
        program: "nginx",
        package: "nginx",
        config: "nginx-prefix.conf",
        prefix: "/app",
        around: Some(NGINX),
        arguments: &["-p", "FOLDER", "-e", "stderr", "-c", "FOLDER/around"],
        events_left: Notice::AtOnce,
        call_left: Notice::AtOnce,
        otherwise: &[],
    },
    Proxy {
        name: "haproxy",
        program: "haproxy",
        package: "haproxy",
        config: "haproxy.cfg",
        prefix: "",
        around: None,
        arguments: &["-db", "-f", "FOLDER/haproxy.cfg"],
        events_left: Notice::AtOnce,
        call_left: Notice::AtOnce,
        otherwise: &[
            Change { name: "no abortonclose", from: "option abortonclose", to: "" },
            Change { name: "no http-no-delay", from: "option http-no-delay", to: "" },
        ],
    },
    Proxy {
        name: "caddy",
        program: "caddy",
        package: "caddy",
        config: "Caddyfile",
        prefix: "",
        around: Some("{\n\tadmin off\n\tauto_https off\n}\nimport FOLDER/Caddyfile\n"),
        arguments: &["run", "--adapter", "caddyfile", "--config", "FOLDER/around"],
        events_left: Notice::AtOnce,
        call_left: Notice::AtOnce,
        otherwise: &[Change {
            name: "flush_interval -1",
            from: "header_up -Forwarded",
            to: "header_up -Forwarded\n\t\tflush_interval -1",
        }],
    },
    Proxy {
        name: "apache",
        program: "apache2",
        package: "apache2",
        config: "apache.conf",
        prefix: "",
        around: Some(
            "ServerRoot FOLDER\nServerName localhost\nPidFile FOLDER/pid\nErrorLog FOLDER/errors\nDefaultRuntimeDir FOLDER\n\
             User www-data\nGroup www-data\n\
             LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n\
             LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n\
             LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so\n\
             LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so\n\
             LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so\n\
             Include FOLDER/apache.conf\n",
        ),
        arguments: &["-DFOREGROUND", "-f", "FOLDER/around"],
        events_left: Notice::ByComments,
        call_left: Notice::ByTimeout,
        otherwise: &[],
    },
    Proxy {
        name: "varnish",
        program: "varnishd",
        package: "varnish",
        config: "varnish.vcl",
        prefix: "",
        around: None,
        arguments: &[
            "-F",
            "-n",
            "FOLDER/work",
            "-a",
            "127.0.0.1:8080",
            "-f",
            "FOLDER/varnish.vcl",
            "-s",
            "malloc,16m",
        ],
        events_left: Notice::AtOnce,
        call_left: Notice::AtOnce,
        otherwise: &[Change {
            name: "pass, no pipe",
            from: "return (pipe);",
            to: "if (req.http.Upgrade) { return (pipe); } return (pass);",
        }],
    },
    Proxy {
        name: "nghttpx",
        program: "nghttpx",
        package: "nghttp2-proxy",
        config: "nghttpx.conf",
        prefix: "",
        around: None,
        arguments: &["--conf=FOLDER/nghttpx.conf", "--single-process", "--accesslog-file=/dev/null"],
        events_left: Notice::AtOnce,
        call_left: Notice::AtOnce,
        otherwise: &[],
    },
];

const NGINX: &str = "daemon off;\nmaster_process off;\npid FOLDER/pid;\nerror_log stderr;\nevents {}\nhttp {\n\
    access_log off;\nclient_body_temp_path FOLDER/body;\nproxy_temp_path FOLDER/proxy;\n\
    fastcgi_temp_path FOLDER/fastcgi;\nuwsgi_temp_path FOLDER/uwsgi;\nscgi_temp_path FOLDER/scgi;\n\
    include FOLDER/nginx*.conf;\n}\n";

impl Proxy {
    pub(super) fn install(&self) -> Outcome {
        match works(program("sh").args(["-c", "command -v \"$0\"", self.program]))? {
            true => Ok(()),
            false => debian::install(self.name, &[self.package], "or name other proxies"),
        }
    }

    /// Starts the proxy in front of the server at the port, with all files in the folder.
    pub(super) fn start(&self, server: u16, folder: &Path, change: Option<&Change>) -> Outcome<Server> {
        let port = free_port()?;
        let shown = folder.display().to_string();
        let path = repository().join("docs/deployment").join(self.config);
        let documented =
            fs::read_to_string(&path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
        let config = with_ports(&changed(documented, change)?, server, port);
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| format!("{} can't be written: {error}", path.display()))
        };
        write(self.config, &config)?;
        if let Some(around) = self.around {
            write("around", &around.replace("FOLDER", &shown))?;
        }
        let fill = |argument: &&str| with_ports(argument, server, port).replace("FOLDER", &shown);
        let mut command = program(self.program);
        // Caddy keeps its state in the user's home.
        command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
        Server::start(command.args(self.arguments.iter().map(fill)), port, &folder.join("log"))
    }
}

/// Replaces the documentation's example ports. A new port may contain an old one.
fn with_ports(text: &str, server: u16, proxy: u16) -> String {
    let pieces = text.split("3000").map(|piece| piece.replace("8080", &proxy.to_string()));
    pieces.collect::<Vec<_>>().join(&server.to_string())
}

fn changed(config: String, change: Option<&Change>) -> Outcome<String> {
    let Some(change) = change else { return Ok(config) };
    match config.contains(change.from) {
        true => Ok(config.replace(change.from, change.to)),
        false => Err(format!("the configuration has no {:?} to change", change.from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_port_may_contain_an_old_one() {
        assert_eq!(with_ports("from 8080 to 3000", 8080, 13000), "from 13000 to 8080");
    }

    #[test]
    fn the_page_shows_the_configurations_that_are_run() {
        let folder = repository().join("docs/deployment");
        let page = fs::read_to_string(folder.join("proxies.md")).unwrap();
        for proxy in &PROXIES {
            let config = fs::read_to_string(folder.join(proxy.config)).unwrap();
            assert!(page.contains(&format!("\n{config}```\n")), "{}", proxy.config);
        }
    }

    #[test]
    fn the_documented_configurations_have_the_ports_and_the_lines_to_change() {
        for proxy in &PROXIES {
            let documented = fs::read_to_string(repository().join("docs/deployment").join(proxy.config)).unwrap();
            assert!(documented.contains("3000"), "{}", proxy.name);
            let listens = proxy.arguments.join(" ") + &documented;
            assert!(listens.contains("8080"), "{}", proxy.name);
            for change in proxy.otherwise {
                assert_ne!(changed(documented.clone(), Some(change)).unwrap(), documented, "{}", proxy.name);
            }
        }
    }
}
