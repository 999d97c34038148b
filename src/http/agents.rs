//! Who sits at a browser, as its `user-agent` says.
//!
//! Whoever wants to pass for a person can. This is for programs that do not
//! hide; what they do must not count, for nobody saw it.

use axum::http::{HeaderMap, header::USER_AGENT};

/// How a program was recognised, in the order of the labels of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// It says so: a crawler, a preview, a monitor.
    Declared,
    /// It is a library or a tool and no browser.
    Tool,
    /// It says nothing; browsers always say something.
    Silent,
    /// It asks for more new visitors than people do.
    Burst,
}

/// What browsers begin with: all of today, and Opera Mini. No library for HTTP
/// calls (curl, Python, Go, Java, Node) begins so.
const BROWSERS: [&[u8]; 2] = [b"mozilla/", b"opera/"];

/// Words by which programs that render pages declare themselves, in small
/// letters. `headlesschrome` is not among them: pages are tested and watched
/// with it, and who abuses it changes that word first. A burst gives it away.
const WORDS: [&[u8]; 12] = [
    b"bot",
    b"crawl",
    b"spider",
    b"slurp",
    b"archiver",
    b"preview",
    b"facebookexternalhit",
    b"mediapartners",
    b"google-",
    b"lighthouse",
    b"phantomjs",
    b"monitor",
];
/// A make of phones whose name ends in one of the words.
const PHONE: &[u8] = b"cubot";

/// The program that sent a request; `None` when it may be a person.
pub fn program(headers: &HeaderMap) -> Option<Program> {
    let agent = headers.get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes()).trim_ascii();
    if agent.is_empty() {
        return Some(Program::Silent);
    }
    if !BROWSERS.iter().any(|start| starts_with(agent, start)) {
        // many crawlers are no browsers either, and say what they are
        return Some(if is_declared(agent) { Program::Declared } else { Program::Tool });
    }
    is_declared(agent).then_some(Program::Declared)
}

fn is_declared(agent: &[u8]) -> bool {
    (0..agent.len()).any(|at| {
        let rest = &agent[at..];
        let word = WORDS.iter().any(|word| starts_with(rest, word));
        word && !(at >= 2 && starts_with(&agent[at - 2..], PHONE))
    })
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(agent: &str) -> Option<Program> {
        program(&HeaderMap::from_iter([(USER_AGENT, agent.parse().unwrap())]))
    }

    #[test]
    fn browsers_are_people() {
        for agent in [
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
            "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
            "Opera/9.80 (Android; Opera Mini/36.2/119.132; U; en) Presto/2.12.423 Version/12.16",
        ] {
            assert_eq!(of(agent), None, "{agent}");
        }
    }

    #[test]
    fn programs_that_say_so_are_programs() {
        for agent in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
            "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "Mozilla/5.0 (Linux; Android 11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36 Chrome-Lighthouse",
            "SomeCUBOTbot/1.0",
        ] {
            assert_eq!(of(agent), Some(Program::Declared), "{agent}");
        }
        for agent in ["curl/8.5.0", "python-requests/2.32.3", "Go-http-client/2.0", "node", "okhttp/4.12.0"] {
            assert_eq!(of(agent), Some(Program::Tool), "{agent}");
        }
        assert_eq!(of(""), Some(Program::Silent));
        assert_eq!(of("  "), Some(Program::Silent));
        assert_eq!(program(&HeaderMap::new()), Some(Program::Silent));
        let names = crate::telemetry::names::PROGRAMS;
        assert_eq!((names[Program::Declared as usize], names[Program::Burst as usize]), ("declared", "burst"));
    }
}
