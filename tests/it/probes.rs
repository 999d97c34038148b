//! The private listener, reflection and health, and what a bind may not be.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::{
    harness::{Place, Server, eventually},
    raw, web,
};

#[tokio::test]
async fn the_private_listener_tells_how_it_is() {
    let server = Server::shared();
    for path in ["/livez", "/readyz"] {
        assert_eq!(web::get(server.private, path, &[]).status, 200, "{path}");
    }
    server.decide(json!({"placements": [{"placement": "home_hero"}]})).await.expect("an answer");
    // workers may publish what they count a little later
    let (metrics, decisions) = eventually("the counter of decisions", || async {
        let metrics = web::get(server.private, "/metrics", &[]);
        assert_eq!(metrics.status, 200);
        let line = metrics.body.lines().find(|l| l.starts_with("rapport_decisions_total{"))?.to_owned();
        Some((metrics, line))
    })
    .await;
    assert!(decisions.contains("channel=") && decisions.contains("level="), "{decisions}");
    let series = metrics.body.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).count();
    assert!(series <= 2_000, "{series} series");
    assert_ne!(web::get(server.address, "/metrics", &[]).status, 200, "metrics stand on the private listener only");
}

#[tokio::test]
async fn grpc_health_and_reflection_answer() {
    let server = Server::shared();
    // HealthCheckResponse { status: SERVING }
    let health = raw::call(server.channel().await, "/grpc.health.v1.Health/Check", Vec::new()).await;
    assert_eq!(health.expect("a health answer").as_ref(), [8, 1]);
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        // ServerReflectionRequest { list_services: "" }
        let services = raw::call(server.channel().await, path, vec![7 << 3 | 2, 0]).await.expect("a list of services");
        let text = String::from_utf8_lossy(&services).into_owned();
        assert!(text.contains("rapport.v1.DecisionService"), "{path}: {text}");
    }
}

#[test]
fn a_bind_to_the_world_needs_keys() {
    let place = Place::new();
    let output = Command::new(env!("CARGO_BIN_EXE_rapport"))
        .args(["serve", "--listen", "0.0.0.0:0", "--private-listen", "127.0.0.1:0", "--data-dir"])
        .arg(place.data())
        .arg("--rules")
        .arg(place.rules())
        .stdin(Stdio::null())
        .output()
        .expect("starting the service");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--api-keys") && said.contains("--insecure"), "{said}");
}
