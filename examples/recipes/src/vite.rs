use realtime_core::{Config, Endpoint, Origins, Procedure, Realtime};

pub const HELLO: Procedure<(), String> = Procedure::query("hello");

/// Lets pages of these origins in, beside those of the server's own host.
pub fn realtime(pages: &[&str]) -> Realtime {
    let mut config = Config::default();
    config.origins = Origins::List(pages.iter().map(|page| (*page).to_owned()).collect());
    let api = Endpoint::new(()).procedure(HELLO, |_, ()| async { Ok("Hello".to_owned()) });
    Realtime::builder().config(config).endpoint("api", api).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use adapter_testing::{TestServer, block_on};
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    const PAGE: &str = "http://localhost:5173";

    #[test]
    fn a_page_on_another_port_is_let_in_when_it_is_listed() {
        block_on(async {
            let listed = TestServer::new(realtime(&[PAGE]));
            let mut page = listed.request("api").header("origin", PAGE).open().await.unwrap();
            assert_eq!(page.call(HELLO, ()).await.unwrap(), "Hello");
        });
    }

    /// A developer sees it in the terminal, an operator in the log, each page once and not at each attempt.
    #[test]
    fn a_refusal_names_the_origin_and_the_setting() {
        let log = Log::default();
        let writer = log.clone();
        let logger = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
        let logger = logger.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(logger, || {
            block_on(async {
                let server = TestServer::new(realtime(&[]));
                for _ in 0..3 {
                    let refused = server.request("api").header("origin", PAGE).open().await.unwrap_err();
                    assert_eq!(refused.status(), 403);
                    assert!(refused.message().contains(PAGE), "{refused}");
                    assert!(refused.message().contains("Config::origins"), "{refused}");
                }
            });
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
        assert_eq!(warnings.len(), 1, "{log}");
        assert!(warnings[0].contains(PAGE) && warnings[0].contains("Config::origins"), "{log}");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
