//! Origins of web pages (RFC 6454, section 6.2): scheme, host and port.

use std::net::Ipv6Addr;

/// Checks that a text is an origin just as browsers send it, so that comparing
/// bytes is enough later.
///
/// # Errors
/// What is wrong with it and what to write instead.
pub fn check(text: &str) -> Result<(), String> {
    wrong_with(text).map_or(Ok(()), |why| {
        Err(format!(
            "`cors_origin` `{}` {why}: give scheme, host and port as browsers send them, for example `https://shop.example`",
            text.escape_debug()
        ))
    })
}

fn wrong_with(text: &str) -> Option<&'static str> {
    if text.contains('*') {
        return Some("is a pattern, and every origin must be named");
    }
    if text == "null" {
        return Some("is sent by pages without an origin, which anybody can make");
    }
    let Some((scheme, authority)) = text.split_once("://") else { return Some("has no scheme") };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return Some("has another scheme than `http` or `https`"),
    };
    if !authority.is_ascii() {
        return Some("is not ASCII: write its host as punycode");
    }
    if authority.contains(['/', '?', '#']) {
        return Some("has a path, or a slash at its end");
    }
    if authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some("has capital letters, which browsers write small");
    }
    if authority.ends_with(default_port) {
        return Some("names the default port, which browsers leave out");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if port.is_some_and(|port| port.starts_with('0') || port.parse::<u16>().is_err()) {
        return Some("has a port that is none");
    }
    (!is_host(host)).then_some("has a host that is none")
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_as_browsers_send_them() {
        for origin in ["https://shop.example", "http://127.0.0.1:8080", "http://[::1]:3000", "http://localhost"] {
            assert_eq!(check(origin), Ok(()), "{origin}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let wrong = [
            ("*", "pattern"),
            ("https://*.shop.example", "pattern"),
            ("null", "without an origin"),
            ("shop.example", "no scheme"),
            ("ftp://shop.example", "another scheme"),
            ("https://shop.example/", "slash"),
            ("https://shop.example/page", "path"),
            ("https://Shop.example", "capital letters"),
            ("https://shop.example:443", "default port"),
            ("http://shop.example:80", "default port"),
            ("https://shop.example:0", "port"),
            ("https://shop.example:99999", "port"),
            ("https://", "host"),
            ("https://a b", "host"),
            ("https://user@shop.example", "host"),
            ("https://münze.example", "punycode"),
            ("http://[::z]", "host"),
        ];
        for (origin, why) in wrong {
            let refused = check(origin).unwrap_err();
            assert!(refused.contains(why) && refused.contains("https://shop.example"), "{origin}: {refused}");
        }
    }
}
