//! What the readme shows is true: its requests parse, its rules compile.

use std::{path::Path, sync::Arc};

use rapport::{
    proto::{DecideRequest, RespondRequest},
    rules::{self, SourceFile},
};

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(path).expect("README.md")
}

/// The bodies of `curl ... -d '...'` to a path.
fn bodies(readme: &str, path: &str) -> Vec<String> {
    let calls = readme.split("curl ").skip(1).filter(|call| call.lines().next().is_some_and(|l| l.contains(path)));
    calls.filter_map(|call| Some(call.split_once("-d '")?.1.split_once('\'')?.0.to_owned())).collect()
}

#[test]
fn its_requests_are_requests() {
    let readme = readme();
    let decides = bodies(&readme, "/v1/decide");
    assert!(!decides.is_empty());
    for body in decides {
        assert!(body.lines().count() <= 6, "a first request has at most 6 lines: {body}");
        let request: DecideRequest = serde_json::from_str(&body).expect("a decide request");
        assert!(!request.placements.is_empty());
    }
    let responds = bodies(&readme, "/v1/respond");
    assert!(!responds.is_empty());
    for body in responds {
        serde_json::from_str::<RespondRequest>(&body).expect("a respond request");
    }
}

#[test]
fn its_rules_compile_beside_the_sample_s() {
    let mut files = rules::read_dir(Path::new("rules")).expect("the rules");
    let readme = readme();
    let blocks: Vec<&str> =
        readme.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    assert!(blocks.len() >= 2, "an offer and a channel");
    for (at, block) in blocks.iter().enumerate() {
        let path: Arc<str> = format!("rules/readme_{at}.yaml").into();
        files.push(SourceFile { path, text: (*block).into() });
    }
    let ruleset = rules::compile(&files).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors.errors.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    });
    assert!(ruleset.offer_by_name("tea_time").is_some());
    assert!(ruleset.channel_by_name("store_till").is_some());
}

#[test]
fn its_commands_exist() {
    let readme = readme();
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_rapport")).arg("--help").output().expect("the help");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let commands =
        readme.lines().filter_map(|l| l.strip_prefix("| `rapport ")).filter_map(|l| l.split(['`', ' ']).next());
    let commands: Vec<&str> = commands.collect();
    assert!(commands.len() >= 7, "{commands:?}");
    for command in commands {
        assert!(help.contains(&format!("\n  {command}")), "`{command}` is not in the help:\n{help}");
    }
}
