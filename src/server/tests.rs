use super::*;

#[test]
fn a_bind_that_others_can_reach_needs_keys_or_insecure() {
    let open = SocketAddr::from(([0, 0, 0, 0], 7070));
    let refused = |config: ServeConfig| refuse_exposed(&config).map_err(|error| error.to_string());
    assert_eq!(refused(ServeConfig::default()), Ok(()));
    let why = refused(ServeConfig { listen: open, ..ServeConfig::default() }).unwrap_err();
    assert!(why.contains("`0.0.0.0:7070`") && why.contains("--api-keys") && why.contains("--insecure"), "{why}");
    assert!(refused(ServeConfig { private_listen: open, ..ServeConfig::default() }).is_err());
    assert_eq!(refused(ServeConfig { listen: open, insecure: true, ..ServeConfig::default() }), Ok(()));
    let keys = ServeConfig { listen: open, api_keys: Some(PathBuf::from("keys")), ..ServeConfig::default() };
    assert_eq!(refused(keys), Ok(()));
}
