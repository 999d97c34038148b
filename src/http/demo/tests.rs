use super::*;

fn of(path: &str) -> &'static str {
    FILES.iter().find(|file| file.0 == path).map(|file| file.3).unwrap_or_default()
}

/// The values of an attribute in a page.
fn attribute<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(&start).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn what_the_pages_ask_for_is_served() {
    let served = |path: &&str| FILES.iter().any(|file| file.0 == *path) || *path == "/rapport.js";
    for page in ["/demo", "/demo/shop"] {
        let html = of(page);
        let wanted: Vec<&str> = attribute(html, "src").into_iter().chain(attribute(html, "href")).collect();
        let paths: Vec<&str> = wanted.into_iter().filter(|path| !path.starts_with('#')).collect();
        assert!(paths.len() > 2 && paths.iter().all(served), "{page}: {paths:?}");
    }
    for File(path, kind, _, text) in FILES {
        let imports = text.split(" from './").skip(1).filter_map(|rest| rest.split('\'').next());
        for import in imports.filter(|_| kind == SCRIPT) {
            assert!(FILES.iter().any(|file| file.0 == format!("/demo/{import}")), "{path} imports {import}");
        }
    }
}

#[test]
fn nothing_is_inline_and_no_text_is_read_as_html() {
    for File(path, kind, policy, text) in FILES {
        assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'none'"), "{path}");
        if kind == HTML {
            assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains("javascript:"), "{path}");
            assert!(!text.contains(" onclick=") && !text.contains(" onload="), "{path}");
            assert!(text.split("<script").skip(1).all(|rest| rest.contains(" src=\"/")), "{path}");
        }
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!text.contains(way), "{path} uses {way}");
        }
    }
}

#[test]
fn the_shop_asks_for_three_places_and_keeps_its_own_words() {
    let shop = of("/demo/shop");
    let mut places = attribute(shop, "data-rapport-placement");
    places.dedup();
    assert_eq!(places, ["home_hero", "home_tiles", "basket"]);
    assert!(shop.contains("Gifts for every occasion"));
}
