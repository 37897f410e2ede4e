//! The suite, on hyper with each runtime.

use adapter_testing::conformance::{Capabilities, Stop, Subject};
use realtime_core::Realtime;
use std::net::TcpListener;

fn capabilities() -> Capabilities {
    Capabilities::default().peer_address().http2()
}

#[cfg(feature = "tokio")]
mod tokio_runtime {
    use super::*;

    #[tokio::main(flavor = "current_thread")]
    async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let server = adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime);
        server.shutdown(stop).await.expect("hyper serves");
    }

    adapter_testing::conformance!(Subject::tcp(capabilities(), serve));
}

#[cfg(feature = "smol")]
mod smol_runtime {
    use super::*;

    fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        smol::block_on(async {
            let listener: smol::net::TcpListener =
                smol::Async::new_nonblocking(listener).expect("a listener").into();
            let server = adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime);
            server.shutdown(stop).await.expect("hyper serves");
        });
    }

    adapter_testing::conformance!(Subject::tcp(capabilities(), serve));
}

#[cfg(feature = "async-std")]
mod async_std_runtime {
    use super::*;

    fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        async_std::task::block_on(async {
            let listener = async_std::net::TcpListener::from(listener);
            let server = adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime);
            server.shutdown(stop).await.expect("hyper serves");
        });
    }

    adapter_testing::conformance!(Subject::tcp(capabilities(), serve));
}
