//! What holds for every set of files.

use super::{SAMPLE, compile_text, file};
use crate::rules::{RuleErrors, SourceFile, compile, read_dir, source::FILE_BYTES_MAX};

/// A file with one offer.
const SMALL: &str = r#"settings: { currency: EUR }
attributes: [{ id: age, type: int }]
channels: [{ id: web, kind: self_service }]
placements: [{ id: top, channel: web, data: [{ id: line }] }]
issues: [{ id: i }]
groups: [{ id: g }]
policies: { limits: [{ id: day, scope: all, max: 3, window: day }] }
offers:
  - id: a
    purpose: marketing
    issue: i
    group: g
    value: 2.5
    eligibility: "p.age >= 18"
    limits: [{ max: 1, window: 7d }]
    placements: [top]
    treatments: { web: { en: { text: "Hi {{ p.age }}", data: { line: "link" } } } }
"#;

/// Longer than this is a hang; a file takes milliseconds even where nothing is
/// optimised.
const HANG: std::time::Duration = std::time::Duration::from_secs(5);

/// The top-level keys of the sample, each in a file of its own.
fn split() -> Vec<SourceFile> {
    let mut parts: Vec<String> = Vec::new();
    for line in SAMPLE.lines() {
        if !line.starts_with([' ', '#']) {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts.iter().enumerate().map(|(at, text)| file(&format!("rules/{at:02}.yaml"), text)).collect()
}

/// A small generator of numbers (xorshift64), so that every run is the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

#[test]
fn the_order_of_files_does_not_matter() {
    let files = split();
    assert!(files.len() > 10);
    let first = compile(&files).map(|rules| (rules.hash, format!("{:?} {:?}", rules.offers, rules.limits)));
    let mut numbers = Numbers(7);
    for _ in 0..5 {
        let mut shuffled = files.clone();
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, numbers.below(at + 1));
        }
        let again = compile(&shuffled).map(|rules| (rules.hash, format!("{:?} {:?}", rules.offers, rules.limits)));
        assert!(first.is_ok());
        assert_eq!(first, again);
    }
}

#[test]
fn the_order_of_declarations_does_not_matter_to_slots() {
    let offers = |first: &str, second: &str| {
        let channel = "channels: [{ id: web, kind: self_service }]\nissues: [{ id: i }]\ngroups: [{ id: g }]\n";
        let offer = |id: &str| {
            format!(
                "  - {{ id: {id}, purpose: service, issue: i, group: g, value: 1, treatments: {{ web: {{ en: {{ text: T }} }} }} }}\n"
            )
        };
        let text = format!("settings: {{ currency: EUR }}\n{channel}offers:\n{}{}", offer(first), offer(second));
        let rules = compile_text(&text).expect("valid");
        rules.offers.iter().map(|offer| (offer.slot, offer.name_id.clone())).collect::<Vec<_>>()
    };
    assert_eq!(offers("a", "b"), offers("b", "a"));
}

#[test]
fn the_hash_knows_paths_and_texts_but_not_the_directory() {
    let hash = |files: &[SourceFile]| compile(files).map(|rules| rules.hash).expect("valid");
    let (settings, groups) = ("settings: { currency: EUR }\n", "groups: [{ id: g }]\n");
    let base = hash(&[file("rules/a.yaml", settings), file("rules/b.yaml", groups)]);
    assert_eq!(base, hash(&[file("/etc/x/a.yaml", settings), file("/etc/x/b.yaml", groups)]));
    assert_ne!(base, hash(&[file("rules/a.yaml", settings), file("rules/c.yaml", groups)]));
    assert_ne!(base, hash(&[file("rules/a.yaml", settings), file("rules/b.yaml", "groups: [{ id: h }]\n")]));
}

#[test]
fn errors_do_not_depend_on_the_order_of_files() {
    let bad = [file("b.yaml", "groups: [{ id: g }, { id: 7 }]\n"), file("a.yaml", "groups: [{ id: g }]\nx: 1\n")];
    let forth = compile(&bad).map(|_| ()).expect_err("wrong");
    let back = compile(&[bad[1].clone(), bad[0].clone()]).map(|_| ()).expect_err("wrong");
    assert_eq!(forth, back);
    let places: Vec<String> = forth.errors.iter().map(|error| error.position.to_string()).collect();
    assert_eq!(places, ["a.yaml:2:1", "b.yaml:1:16", "b.yaml:1:27"]);
}

fn mutate(numbers: &mut Numbers, base: &str) -> String {
    let mut text: Vec<char> = base.chars().collect();
    const LETTERS: [char; 20] =
        ['{', '}', '[', ']', ':', '-', '"', '\'', '\n', ' ', '&', '*', '|', '>', '#', '0', 'x', 'é', '\t', '\0'];
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(text.len());
        match numbers.below(5) {
            0 => {
                text.remove(at);
            }
            1 => text.insert(at, LETTERS[numbers.below(LETTERS.len())]),
            2 => text[at] = LETTERS[numbers.below(LETTERS.len())],
            3 => {
                let end = (at + numbers.below(40)).min(text.len());
                text.drain(at..end);
            }
            _ => {
                let end = (at + numbers.below(40)).min(text.len());
                let copied: Vec<char> = text[at..end].to_vec();
                let to = numbers.below(text.len());
                text.splice(to..to, copied);
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn no_mutation_of_a_file_panics_and_every_error_has_a_place() {
    assert!(compile_text(SMALL).is_ok());
    let mut numbers = Numbers(20_110_601);
    let (mut good, mut bad) = (0, 0);
    for round in 0..2_500 {
        // The large file takes ten times as long.
        let base = if round % 10 == 0 { SAMPLE } else { SMALL };
        let text = mutate(&mut numbers, base);
        let started = std::time::Instant::now();
        let compiled = compile_text(&text);
        assert!(started.elapsed() < HANG, "{text}");
        match compiled {
            Ok(_) => good += 1,
            Err(RuleErrors { errors }) => {
                bad += 1;
                assert!(!errors.is_empty());
                for error in errors {
                    assert!(error.position.line >= 1 && error.position.column >= 1, "{error}");
                    assert!(!error.message.is_empty(), "{error}");
                }
            }
        }
    }
    assert!(good > 50 && bad > 1_000, "{good} {bad}");
}

#[test]
fn bombs_are_refused() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (last, next) in ["a", "b", "c", "d", "e", "f", "g"].iter().zip(["b", "c", "d", "e", "f", "g", "h"]) {
        bomb.push_str(&format!("{next}: &{next} [{}]\n", vec![format!("*{last}"); 9].join(", ")));
    }
    for text in [
        bomb,
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(1_000),
        (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
        format!("segments: [{{ id: a, when: \"{}\" }}]\nsettings: {{ currency: EUR }}\n", "(".repeat(100_000)),
    ] {
        let started = std::time::Instant::now();
        let errors = compile_text(&text).map(|_| ()).expect_err("a bomb").errors;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(started.elapsed() < HANG, "{errors:?}");
    }
}

#[test]
fn large_files_are_refused() {
    let errors = compile_text(&"#".repeat(FILE_BYTES_MAX + 1)).map(|_| ()).expect_err("too large").errors;
    assert!(errors[0].message.contains("bytes, at most"), "{errors:?}");
}

#[test]
fn two_thousand_offers_compile() {
    let offer = &SMALL[SMALL.find("  - id: a").unwrap_or_default()..];
    let mut text = SMALL.to_owned();
    for at in 0..2_000 {
        text.push_str(&offer.replace("id: a", &format!("id: offer_{at:04}")));
    }
    let rules = compile_text(&text).expect("valid");
    assert_eq!((rules.offers.len(), rules.limits.len()), (2_001, 2_002));
    assert!(rules.offers.iter().enumerate().all(|(at, offer)| offer.slot.index() == at));
    assert!(rules.offers.iter().all(|offer| offer.limits.len() == 2));
    assert_eq!(rules.offers_by_placement[0].len(), 2_001);
}

#[test]
fn a_directory_is_read_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("rules");
    std::fs::create_dir_all(root.join("offers")).expect("made");
    for (name, text) in
        [("b.yaml", "groups: []"), ("offers/a.yml", "offers: []"), ("readme.md", "no"), (".hidden.yaml", "no")]
    {
        std::fs::write(root.join(name), text).expect("written");
    }
    let files = read_dir(&root).expect("readable");
    let names: Vec<&str> = files.iter().filter_map(|f| f.path.split("rules/").last()).collect();
    assert_eq!(names, ["b.yaml", "offers/a.yml"]);
    std::fs::write(root.join("c.yaml"), [0xff, 0xfe]).expect("written");
    assert!(read_dir(&root).expect_err("not text").errors[0].message.contains("UTF-8"));
    let missing = read_dir(&root.join("nowhere")).expect_err("missing").errors;
    assert!(missing[0].message.contains("cannot be read"), "{missing:?}");
}

#[cfg(unix)]
#[test]
fn a_mounted_config_map_is_read_once_and_switches_as_a_whole() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("rules");
    for (version, text) in [("..2024_01_01", "groups: []"), ("..2024_02_02", "issues: []")] {
        std::fs::create_dir_all(root.join(version).join("offers")).expect("made");
        std::fs::write(root.join(version).join("a.yaml"), text).expect("written");
        std::fs::write(root.join(version).join("offers/b.yaml"), text).expect("written");
    }
    symlink("..2024_01_01", root.join("..data")).expect("linked");
    symlink("..data/a.yaml", root.join("a.yaml")).expect("linked");
    symlink("..data/offers", root.join("offers")).expect("linked");
    let read = || -> Vec<(String, String)> {
        let files = read_dir(&root).expect("readable");
        let name = |path: &str| path.split("rules/").last().unwrap_or_default().to_owned();
        files.iter().map(|file| (name(&file.path), file.text.to_string())).collect()
    };
    let wanted = |text: &str| [("a.yaml".to_owned(), text.to_owned()), ("offers/b.yaml".to_owned(), text.to_owned())];
    assert_eq!(read(), wanted("groups: []"));
    symlink("..2024_02_02", root.join("..data_tmp")).expect("linked");
    std::fs::rename(root.join("..data_tmp"), root.join("..data")).expect("switched");
    assert_eq!(read(), wanted("issues: []"));
    // The directory itself may be a link too.
    symlink(&root, dir.path().join("linked")).expect("linked");
    assert_eq!(read_dir(&dir.path().join("linked")).expect("readable").len(), 2);
}

#[test]
fn no_files_are_an_error() {
    assert!(compile(&[]).is_err());
}

/// A file of so many offers whose conditions stand in folded lines.
fn folded(offers: usize, condition: &str) -> String {
    let (head, list) = SMALL.split_once("offers:\n").expect("the small file has offers");
    let mut text = format!("{head}offers:\n");
    for at in 0..offers {
        let offer = list.replace("- id: a\n", &format!("- id: o{at}\n"));
        let folded = format!(">\n      p.age >= 18 &&\n\n        {condition}\n      && p.age < {at}");
        text.push_str(&offer.replace("\"p.age >= 18\"", &folded));
    }
    text
}

#[test]
fn files_that_are_not_cut_take_time_in_proportion() {
    const OFFERS: usize = 6_500;
    let text = folded(OFFERS, "(p.age > 20 || p.age == 19)");
    assert!(text.len() > 2_000_000, "{}", text.len());
    let whole = text.replacen("purpose: marketing", "purpose: &kind marketing", 1);
    let begun = std::time::Instant::now();
    let rules = compile_text(&whole).expect("right");
    let took = begun.elapsed();
    let begun = std::time::Instant::now();
    let alone = compile_text(&text).expect("right");
    // Against the same offers cut out, so that a busy machine does not count.
    assert!(took < 10 * begun.elapsed() + HANG, "{took:?}, {:?} when cut", begun.elapsed());
    assert_eq!(format!("{:?}", rules.offers), format!("{:?}", alone.offers));
    let line = whole.lines().zip(1..).filter(|(line, _)| *line == "      p.age >= 18 &&").nth(4_321).map(|(_, at)| at);
    let offer = rules.offer_by_name("o4321").expect("there");
    assert_eq!(offer.eligibility.as_ref().map(|condition| condition.position.line), line);
}

#[test]
fn a_mistake_in_a_folded_text_is_told_where_it_stands() {
    let text = folded(300, "(p.age > 20 || p.agee == 19)");
    let line = "        (p.age > 20 || p.agee == 19)";
    let lines: Vec<usize> = text.lines().enumerate().filter(|(_, l)| *l == line).map(|(at, _)| at + 1).collect();
    for text in [text.clone(), text.replacen("purpose:", "purpose: &kind", 1), text.replace('\n', "\r\n")] {
        let errors = compile_text(&text).expect_err("wrong").errors;
        let places: Vec<(usize, u32)> = errors.iter().map(|e| (e.position.line as usize, e.position.column)).collect();
        let mut wanted: Vec<(usize, u32)> = lines.iter().map(|line| (*line, 24)).collect();
        wanted.sort_unstable();
        assert_eq!(places, wanted);
        assert!(errors[0].snippet.contains("p.agee == 19)\n"), "{}", errors[0].snippet);
    }
}

#[test]
fn a_file_of_one_line_takes_time_in_proportion() {
    let (head, _) = SMALL.split_once("offers:\n").expect("the small file has offers");
    let offer = |at: usize| {
        format!(
            "{{id: o{at}, purpose: marketing, issue: i, group: g, value: 1, eligibility: \"p.age >= 18 && p.agee > \\u0031\", \
             treatments: {{web: {{en: {{text: \"Hi {{{{ p.age }}}}\"}}}}}}}}"
        )
    };
    let offers: Vec<String> = (0..2_000).map(offer).collect();
    let text = format!("{head}offers: [{}]\n", offers.join(", "));
    let begun = std::time::Instant::now();
    let errors = compile_text(&text).expect_err("wrong").errors;
    assert_eq!(errors.len(), crate::rules::report::ERRORS_MAX);
    assert!(begun.elapsed() < 4 * HANG, "{:?}", begun.elapsed());
    let last = &errors[errors.len() - 1];
    let caret = last.snippet.lines().last().map(|line| line.chars().count() - 1).expect("a caret");
    let shown = last.snippet.lines().next().map(|line| line.chars().skip(caret).collect::<String>()).expect("a line");
    assert!(shown.starts_with("p.age >= 18"), "{}", last.snippet);
}

#[test]
fn mistakes_without_number_take_no_time() {
    use std::fmt::Write;

    let (head, list) = SMALL.split_once("offers:\n").expect("the small file has offers");
    let attributes: String = (0..500).fold(String::new(), |mut text, at| {
        _ = write!(text, ", {{ id: attribute_number_{at}, type: int }}");
        text
    });
    let mut text = head.replace("type: int }]", &format!("type: int }}{attributes}]")) + "offers:\n";
    for at in 0..3_000 {
        let offer = list.replace("- id: a\n", &format!("- id: o{at}\n"));
        text.push_str(&offer.replace("p.age >= 18", &format!("p.attribute_numbre_{at} > 1")));
    }
    let begun = std::time::Instant::now();
    let errors = compile_text(&text).expect_err("wrong").errors;
    assert_eq!(errors.len(), crate::rules::report::ERRORS_MAX);
    assert!(begun.elapsed() < 20 * HANG, "{:?}", begun.elapsed());
    assert!(errors[0].message.contains("did you mean `p.attribute_number_"), "{}", errors[0]);
}
