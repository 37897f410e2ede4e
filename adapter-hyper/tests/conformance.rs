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
        adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), stop).await;
    }

    adapter_testing::conformance!(Subject::tcp(capabilities(), serve));
}

#[cfg(feature = "smol")]
mod smol_runtime {
    use super::*;

    fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        smol::block_on(async {
            let listener = smol::Async::new_nonblocking(listener).expect("a listener").into();
            adapter_hyper::serve::<smol::net::TcpListener, _, _>(listener, adapter_hyper::routes(&realtime), stop)
                .await;
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
            adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), stop).await;
        });
    }

    adapter_testing::conformance!(Subject::tcp(capabilities(), serve));
}
