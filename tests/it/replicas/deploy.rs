//! What stands in `deploy/` and in the runbook is true of the program: flags,
//! variables, ports, probes, metrics, settings of Redis.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    harness::{Place, Server, repository},
    redis::server::RedisServer,
    web,
};

fn deploy(name: &str) -> PathBuf {
    repository().join("deploy").join(name)
}

fn read(name: &str) -> String {
    let path = repository().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a file.
fn documents(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(deploy(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let documents = text.split("\n---\n").map(serde_saphyr::from_str);
    documents.map(|document| document.unwrap_or_else(|error| panic!("{name}: {error}"))).collect()
}

/// The one object of a kind and a name.
fn object(name: &str, kind: &str, called: &str) -> Value {
    let found = |document: &Value| document["kind"] == kind && document["metadata"]["name"] == called;
    documents(name).into_iter().find(found).unwrap_or_else(|| panic!("no {kind} {called} in {name}"))
}

/// The words of a text that begin with something, as far as they are names.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with(prefix) && word.len() > prefix.len());
    words.map(str::to_owned).collect()
}

/// Long flags in a text.
fn flags(text: &str) -> BTreeSet<String> {
    let is_flag = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let words = text.split(|c| !is_flag(c)).filter(|word| word.starts_with("--") && word.len() > 3);
    words.map(|word| word.trim_end_matches('-').to_owned()).collect()
}

fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rapport")).args(["serve", "--help"]).output().expect("the help");
    String::from_utf8(output.stdout).expect("text")
}

/// Every metric that there is, with what histograms append.
fn metrics() -> BTreeSet<String> {
    let names = read("src/telemetry/names.rs");
    let declared = names.split('"').filter(|text| words(text, "rapport_").contains(*text));
    declared.flat_map(|name| ["", "_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}"))).collect()
}

fn runbook() -> String {
    read("docs/runbook.md")
}

#[test]
fn variables_and_flags_are_those_of_the_service() {
    let help = help();
    let known = words(&help, "RAPPORT_");
    let known_flags = flags(&help);
    assert!(known.len() > 15 && known_flags.len() > 15, "{known:?} {known_flags:?}");
    for name in ["deploy/compose.yaml", "deploy/Dockerfile", "deploy/kubernetes/rapport.yaml"] {
        let used = words(&read(name), "RAPPORT_");
        assert!(!used.is_empty(), "{name}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{name} sets {unknown:?}, which `rapport serve` does not know");
    }
    // other programs' flags in the runbook, and those of other commands
    let others = ["--latency"];
    let unknown: Vec<String> = flags(&runbook())
        .into_iter()
        .filter(|flag| !known_flags.contains(flag) && !others.contains(&flag.as_str()))
        .collect();
    assert!(unknown.is_empty(), "the runbook names {unknown:?}, which `rapport serve` does not know");
}

#[test]
fn commands_of_the_runbook_are_commands() {
    let output = Command::new(env!("CARGO_BIN_EXE_rapport")).arg("--help").output().expect("the help");
    let help = String::from_utf8(output.stdout).expect("text");
    let known: BTreeSet<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    for text in [runbook(), read("deploy/compose.yaml")] {
        for command in text.split("`rapport ").skip(1).filter_map(|rest| rest.split(['`', ' ']).next()) {
            assert!(known.contains(command), "`rapport {command}` is no command");
        }
    }
}

#[test]
fn every_alert_is_on_a_metric_there_is_and_has_its_section() {
    let known = metrics();
    let runbook = runbook();
    let sections: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut alerts = BTreeSet::new();
    let file = &documents("prometheus/alerts.yaml")[0];
    for rule in
        file["groups"].as_array().expect("groups").iter().flat_map(|group| group["rules"].as_array().expect("rules"))
    {
        let name = rule["alert"].as_str().expect("a name").to_owned();
        let unknown: Vec<String> = words(rule["expr"].as_str().expect("an expression"), "rapport_")
            .into_iter()
            .filter(|metric| !known.contains(metric))
            .collect();
        assert!(unknown.is_empty(), "{name} is on {unknown:?}, which nobody counts");
        assert!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().expect("a severity")), "{name}");
        assert_eq!(rule["annotations"]["runbook"], format!("docs/runbook.md#{}", name.to_lowercase()));
        assert!(alerts.insert(name.clone()), "{name} twice");
    }
    let sections: BTreeSet<String> = sections.into_iter().map(str::to_owned).collect();
    assert_eq!(alerts, sections, "alerts and sections of the runbook");
    let prose: Vec<String> = words(&runbook, "rapport_").into_iter().filter(|metric| !known.contains(metric)).collect();
    assert!(prose.is_empty(), "the runbook names metrics {prose:?}, which nobody counts");
}

#[test]
fn labels_of_alerts_are_those_of_the_code() {
    let text = read("deploy/prometheus/alerts.yaml");
    let outages = read("docs/redis.md");
    for result in ["read_only", "out_of_memory", "unsaved", "no_replicas"] {
        assert!(text.contains(result) && outages.contains(&format!("`{result}`")), "{result}");
    }
    let codes = rapport::telemetry::names::CODES;
    for code in ["INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS"] {
        assert!(text.contains(code) && codes.contains(&code), "{code}");
    }
}

#[test]
fn links_of_the_runbook_lead_somewhere() {
    let runbook = runbook();
    let anchors: BTreeSet<String> = runbook
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-"))
        .collect();
    for link in runbook.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        assert!(repository().join("docs").join(file).exists(), "{link}");
        assert!(!file.is_empty() || anchors.contains(anchor), "{link}");
    }
}

/// The replicas of the compose file.
fn composed() -> (Value, Vec<(String, Value)>) {
    let file = documents("compose.yaml").remove(0);
    let services = file["services"].as_object().expect("services").clone();
    let replicas = services.into_iter().filter(|(name, _)| name.starts_with("rapport-")).collect();
    (file, replicas)
}

#[test]
fn each_replica_has_a_volume_of_its_own() {
    let (file, replicas) = composed();
    assert_eq!(replicas.len(), 3);
    let mut data = BTreeSet::new();
    for (name, replica) in &replicas {
        let volumes: Vec<&str> =
            replica["volumes"].as_array().expect("volumes").iter().filter_map(Value::as_str).collect();
        let own = volumes.iter().find_map(|volume| volume.strip_suffix(":/data")).expect("a volume for the data");
        assert!(file["volumes"].get(own).is_some(), "{name}: {own}");
        assert!(data.insert(own.to_owned()), "{own} is shared");
    }
    let set = object("kubernetes/rapport.yaml", "StatefulSet", "rapport");
    assert_eq!(set["spec"]["replicas"], 3);
    let claim = set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"].as_str().expect("a claim");
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    let mounted = mounts.iter().find(|mount| mount["name"] == claim).expect("the claim is mounted");
    assert_eq!(Some(&mounted["mountPath"]), variable(container, "RAPPORT_DATA_DIR").as_ref());
    assert!(read("deploy/Dockerfile").contains("RAPPORT_DATA_DIR=/data"));
}

/// The value of a variable of a container.
fn variable(container: &Value, name: &str) -> Option<Value> {
    let all = container["env"].as_array()?;
    all.iter().find(|variable| variable["name"] == name).map(|variable| variable["value"].clone())
}

#[test]
fn ports_and_probes_are_where_the_service_listens() {
    let config = rapport::config::ServeConfig::default();
    let (public, private) = (config.listen.port(), config.private_listen.port());
    let set = object("kubernetes/rapport.yaml", "StatefulSet", "rapport");
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let named = |name: &str| {
        let ports = container["ports"].as_array().expect("ports");
        ports.iter().find(|port| port["name"] == name).expect("a port")["containerPort"].clone()
    };
    assert_eq!((named("public"), named("private")), (public.into(), private.into()));
    assert_eq!(variable(container, "RAPPORT_LISTEN"), Some(format!("0.0.0.0:{public}").into()));
    assert_eq!(variable(container, "RAPPORT_PRIVATE_LISTEN"), Some(format!("0.0.0.0:{private}").into()));
    let server = Server::start(&std::sync::Arc::new(Place::new()));
    for (probe, path) in [("startupProbe", "/readyz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        let asked = &container[probe]["httpGet"];
        assert_eq!((asked["path"].as_str(), asked["port"].as_str()), (Some(path), Some("private")), "{probe}");
        assert_eq!(web::get(server.private, path, &[]).status, 200);
    }
    let scraped = &set["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(scraped["prometheus.io/port"], private.to_string());
    for service in ["rapport", "rapport-replicas"] {
        let service = object("kubernetes/rapport.yaml", "Service", service);
        assert_eq!(service["spec"]["ports"][0]["port"], public);
        assert_eq!(service["spec"]["selector"], set["spec"]["selector"]["matchLabels"]);
    }
    // a drain ends before the process is ended
    let drain: u64 =
        variable(container, "RAPPORT_DRAIN_TIMEOUT_MS").and_then(|ms| ms.as_str()?.parse().ok()).expect("a time");
    let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("a pause");
    let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a time");
    assert!(
        grace * 1_000 >= pause * 1_000 + drain + 10_000,
        "{grace} s for a pause of {pause} s and a drain of {drain} ms"
    );
    let (_, replicas) = composed();
    for (name, replica) in &replicas {
        let grace = replica["stop_grace_period"]
            .as_str()
            .expect("a time")
            .trim_end_matches('s')
            .parse::<u64>()
            .expect("seconds");
        assert!(grace * 1_000 > config.drain_timeout_ms, "{name}");
        let ports = replica["ports"].as_array().expect("ports");
        assert!(ports[0].as_str().expect("a port").ends_with(&format!(":{public}")), "{name}: {ports:?}");
        assert!(ports[1].as_str().expect("a port").ends_with(&format!(":{private}")), "{name}: {ports:?}");
    }
}

#[test]
fn addresses_of_the_store_are_understood() {
    use rapport::store::redis::Address;
    let secret = object("kubernetes/secrets.yaml", "Secret", "rapport-store");
    Address::parse(secret["stringData"]["url"].as_str().expect("an address")).expect("the address of the cluster");
    let (_, replicas) = composed();
    let url = replicas[0].1["environment"]["RAPPORT_STORE"].as_str().expect("an address").to_owned();
    let mut filled = url.replace("${REDIS_PASSWORD}", "secret");
    while let Some((before, rest)) = filled.split_once("${") {
        filled = format!("{before}secret{}", rest.split_once('}').expect("an end").1);
    }
    Address::parse(&filled).expect("the address of the compose file");
    let primary = object("kubernetes/redis.yaml", "ConfigMap", "redis")["data"]["sentinel.sh"].clone();
    assert!(primary.as_str().expect("a script").contains("sentinel monitor main "), "sentinels call it `main`");
    assert!(read("deploy/redis/sentinel.conf").contains("sentinel monitor main "));
}

#[test]
fn keys_do_not_lie_open_in_redis() {
    let (file, replicas) = composed();
    for (name, replica) in &replicas {
        let secret = replica["environment"]["RAPPORT_STORE_SECRET"].as_str().expect("a file").to_owned();
        let called = secret.strip_prefix("/run/secrets/").expect("a secret");
        assert!(replica["secrets"].as_array().expect("secrets").iter().any(|given| given == called), "{name}");
        assert!(file["secrets"].get(called).is_some(), "{name}: {called}");
    }
    let set = object("kubernetes/rapport.yaml", "StatefulSet", "rapport");
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let secret = variable(container, "RAPPORT_STORE_SECRET").expect("a variable");
    let (dir, called) = secret.as_str().expect("a file").rsplit_once('/').expect("a directory");
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    let mount = mounts.iter().find(|mount| mount["mountPath"] == dir).expect("the secret is mounted");
    let volumes = pod["volumes"].as_array().expect("volumes");
    let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("a volume");
    let of = volume["secret"]["secretName"].as_str().expect("a secret");
    let given = object("kubernetes/secrets.yaml", "Secret", of)["stringData"][called].clone();
    assert!(given.as_str().expect("a secret").len() >= 32, "{of}/{called}");
}

#[test]
fn redis_takes_its_settings() {
    let conf = read("deploy/redis/redis.conf");
    let object = object("kubernetes/redis.yaml", "ConfigMap", "redis");
    assert_eq!(object["data"]["redis.conf"].as_str(), Some(conf.as_str()), "the cluster has other settings");
    let settings = conf.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut arguments = Vec::new();
    let runbook = runbook();
    for line in settings {
        let (name, value) = line.split_once(' ').expect("a name and a value");
        assert!(runbook.contains(&format!("`{name}")), "the runbook does not say what `{name}` buys");
        arguments.extend([format!("--{name}"), value.to_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let redis = RedisServer::start_with(&arguments);
    for (name, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("maxmemory-policy", "noeviction"),
        ("min-replicas-to-write", "1"),
    ] {
        let said = redis.say(&format!("CONFIG GET {name}"));
        assert!(said.ends_with(&format!("\r\n{value}\r\n")), "{name}: {said}");
    }
    // without a replica it refuses to write, as the runbook says
    assert!(redis.say("SET a b").starts_with("-NOREPLICAS"));
}

#[test]
fn the_image_is_built_as_the_package_is() {
    let dockerfile = read("deploy/Dockerfile");
    let manifest = read("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .expect("a version")
        .trim_matches('"')
        .to_owned();
    let images: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert!(images[0].starts_with(&format!("rust:{version}")), "{images:?}");
    assert!(dockerfile.contains("--profile dist") && manifest.contains("[profile.dist]"));
    let release = |image: &str| image.rsplit_once('-').map_or(image.to_owned(), |(_, release)| release.to_owned());
    // built and run with the same C library
    let built = release(images[0].split(' ').next().expect("an image"));
    assert!(images[1].contains(&built), "{images:?}");
    for copied in
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"))
    {
        assert!(repository().join(copied.split(' ').next().expect("a path")).exists(), "{copied}");
    }
}
