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

/// The text of the block that is fenced with these words.
fn block(readme: &str, fence: &str) -> String {
    let (_, rest) = readme.split_once(&format!("```{fence}\n")).unwrap_or_else(|| panic!("no block `{fence}`"));
    rest.split_once("```").expect("the end of the block").0.to_owned()
}

/// The arguments of a shown command, as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quote, mut word) = (Vec::new(), None, String::new());
    for c in line.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, ' ') => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            (_, c) => word.push(c),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// Runs a command in the repository.
fn run(arguments: &[String]) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rapport"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("running the command")
}

#[test]
fn its_trials_of_rules_run() {
    let readme = readme();
    let shown = readme.lines().filter_map(|line| line.strip_prefix("    cargo run --release -- "));
    let trials: Vec<&str> = shown.filter(|line| line.starts_with("eval") || line.starts_with("eligible")).collect();
    assert_eq!(trials.len(), 2, "{trials:?}");
    let answers: Vec<String> = trials
        .iter()
        .map(|trial| {
            let output = run(&words(trial));
            assert!(output.status.success(), "{trial}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("text")
        })
        .collect();
    assert_eq!(answers[0], "true\n");
    assert_eq!(answers[1].lines().count(), 1_000, "an answer for each customer");
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("least.yaml"), block(&readme, "yaml least")).expect("the least rules");
    std::fs::write(dir.path().join("people.ndjson"), r#"{"id": "a", "p": {"age": 18}}"#).expect("a person");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let people = path("people.ndjson");
    let output = run(&["eligible", "--rules", &path(""), "--profiles", &people].map(str::to_owned));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a: adults\n", "{output:?}");
    std::fs::write(&people, block(&readme, "json")).expect("the line that is shown");
    let output = run(&["eligible", "--profiles", &people].map(str::to_owned));
    assert!(output.status.success() && output.stdout.starts_with(b"7: "), "{output:?}");
}

#[test]
fn its_commands_of_publishing_are_understood() {
    let readme = readme();
    let (_, rest) = readme.split_once("## Publish without fear").expect("the section");
    let section = rest.split_once("\n## ").expect("the next section").0;
    let commands: Vec<&str> =
        section.split("`rapport ").skip(1).filter_map(|rest| Some(rest.split_once('`')?.0)).collect();
    assert!(commands.len() >= 7, "{commands:?}");
    for command in commands {
        let mut arguments = words(command);
        // no service is there: a command that is understood says so
        arguments.extend(["--address", "http://127.0.0.1:9"].map(str::to_owned));
        let output = run(&arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("connecting to `http://127.0.0.1:9`"), "{command}: {told}");
    }
    let mut files = rules::read_dir(Path::new("rules")).expect("the rules");
    for file in &mut files {
        if file.path.ends_with("policies.yaml") {
            let text: Vec<&str> = file.text.lines().filter(|line| !line.starts_with("  reach:")).collect();
            let limits = block(&readme, "yaml reach").replacen("policies:\n", "", 1);
            file.text = format!("{}\n{limits}", text.join("\n")).into();
        }
    }
    let ruleset = rules::compile(&files).expect("the rules with the limits shown");
    assert_eq!(ruleset.reach.max_gain_share, Some(0.2));
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
