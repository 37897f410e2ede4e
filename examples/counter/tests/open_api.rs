//! A client that a public generator makes of the OpenAPI document, against a running counter.

#[path = "../../../realtime-schema/tests/support/node.rs"]
mod node;

use counter::server;
use std::{fs, future::pending, net::SocketAddr, path::Path};
use tokio::{net::TcpListener, task::spawn_blocking};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_open_api_document_calls_and_reads_errors() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    tokio::spawn(server::serve(listener, &server::realtime()).shutdown(pending()).into_future());
    spawn_blocking(move || generate_and_run(address)).await.expect("the client is content");
}

fn generate_and_run(address: SocketAddr) {
    let tools = node::installed("open_api");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("open-api");
    fs::create_dir_all(&folder).expect("a folder");
    let types = folder.join("api.d.ts");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("api.openapi.json");
    let generator = tools.join("node_modules/openapi-typescript/bin/cli.js");
    node::run(&generator, &[document.as_os_str(), "--output".as_ref(), types.as_os_str()]);

    let client = tools.join("client.mjs");
    let config = format!(
        r#"{{
            "compilerOptions": {{
                "strict": true, "noEmit": true, "allowJs": true, "checkJs": true, "skipLibCheck": true,
                "target": "es2022", "module": "nodenext", "types": ["node"], "typeRoots": [{roots:?}],
                "paths": {{ "counter-open-api": [{types:?}] }}
            }},
            "files": [{client:?}]
        }}"#,
        roots = tools.join("node_modules/@types"),
    );
    fs::write(folder.join("tsconfig.json"), config).expect("a file");
    node::run(&tools.join("node_modules/typescript/bin/tsc"), &["--project".as_ref(), folder.as_os_str()]);
    node::run(&client, &[format!("http://{address}").as_ref()]);
}
