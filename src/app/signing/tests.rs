use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    matched::MATCH_LIFE_US,
    visitor::{VISITOR_LIFE_US, VISITOR_RENEWED_US},
    *,
};
use crate::{
    decide::Signer,
    domain::{
        ChannelId, CustomerKey, DecisionId, Holder, IdentityHash, IdentityTypeId, LinkRef, MatchRef, Memory, OfferId,
        PresentationRef, RecordRef, VisitorId, VisitorOrigin, time::DAY_US,
    },
};

const NOW: Timestamp = Timestamp(1_900_000_000 * SECOND_US);
const DECISION: DecisionId = DecisionId(0x0190_0000_0000_7000_8000_0000_0000_0001);
const CUSTOMER: u128 = 0x1234_5678_9abc_def0_1111_2222_3333_4444;
const VISITOR: VisitorId = VisitorId(0x0f1e_2d3c_4b5a_6978_8796_a5b4_c3d2_e1f0);
const OTHER: VisitorId = VisitorId(VISITOR.0 ^ 1);

fn ring(ids: &[u32]) -> KeyRing {
    let secrets: Vec<(u32, [u8; 32])> = ids.iter().map(|id| (*id, [*id as u8; 32])).collect();
    KeyRing::new(&secrets, "https://shop.example/").unwrap()
}

fn presentation(customer: Option<u128>) -> PresentationRef {
    PresentationRef {
        record: Default::default(),
        decision: DECISION,
        customer: customer.map(CustomerKey),
        offer: OfferId::of("birthday_gift"),
        channel: ChannelId::of("email"),
        expires_at: Timestamp(2_000_000_000 * SECOND_US),
    }
}

fn link(customer: Option<u128>) -> LinkRef {
    LinkRef { presentation: presentation(customer), language: 1, link: 2 }
}

/// Every way to hold a token, of a visitor whose id was made with the decision
/// and of one who came with it.
fn holders(ring: &KeyRing) -> Vec<Option<Holder>> {
    let made = ring.visitor_of(DECISION);
    let memories = [Memory::Forgotten, Memory::Kept];
    let of = |visitor, origin| memories.map(|memory| Some(Holder { visitor, origin, memory }));
    [vec![None], of(made, VisitorOrigin::Made).into(), of(VISITOR, VisitorOrigin::Given).into()].concat()
}

fn tokens(ring: &KeyRing, customer: Option<u128>, holder: Option<Holder>) -> (String, String) {
    let signer = ring.newest(Purpose::Present);
    let url = signer.link_url(&link(customer), holder);
    let link = url.strip_prefix("https://shop.example/c/").unwrap().to_owned();
    (signer.presentation_token(&presentation(customer), holder), link)
}

fn visitor_id(ring: &KeyRing, visitor: VisitorId, now: Timestamp) -> String {
    ring.newest(Purpose::Present).visitor_id(visitor, now)
}

fn matches() -> [MatchRef; 2] {
    let identity = MatchRef::Identity { kind: IdentityTypeId::of("email"), hash: IdentityHash(CUSTOMER) };
    [identity, MatchRef::Customer(CustomerKey(CUSTOMER))]
}

/// One text of every kind and form.
fn all(ring: &KeyRing) -> Vec<String> {
    let mut all = vec![visitor_id(ring, VISITOR, NOW)];
    all.extend(matches().map(|named| ring.match_token(&named, NOW)));
    for holder in holders(ring) {
        for customer in [None, Some(CUSTOMER)] {
            all.extend(<[String; 2]>::from(tokens(ring, customer, holder)));
        }
    }
    all
}

/// By which of the four readers a text is taken.
fn takers(ring: &KeyRing, text: &str) -> [bool; 4] {
    [
        ring.presentation(text, Bearer::Service, NOW) != Err(TokenError::Forged),
        ring.link(text, NOW) != Err(TokenError::Forged),
        ring.visitor(text, NOW).is_some(),
        ring.matched(text, NOW) != Err(TokenError::Forged),
    ]
}

fn holds(text: &str, secret: u128) -> bool {
    URL_SAFE_NO_PAD.decode(text).unwrap().windows(16).any(|w| w == secret.to_le_bytes())
}

#[test]
fn tokens_round_trip_and_hide_whom_they_are_for() {
    let ring = ring(&[7]);
    for holder in holders(&ring) {
        for customer in [None, Some(CUSTOMER)] {
            let (token, url) = tokens(&ring, customer, holder);
            let kept = holder.filter(|h| customer.is_none() && h.memory == Memory::Kept).map(|h| h.visitor);
            let presented = Presented { presentation: presentation(customer), visitor: kept };
            assert_eq!(ring.presentation(&token, Bearer::Service, NOW), Ok(presented));
            assert_eq!(ring.link(&url, NOW), Ok((link(customer), kept, Purpose::Present)));
            let secrets = [customer, holder.map(|h| h.visitor.0)];
            assert!(secrets.into_iter().flatten().all(|secret| !holds(&token, secret) && !holds(&url, secret)));
        }
    }
}

#[test]
fn tokens_bound_to_nobody_are_as_they_always_were() {
    let (token, url) = tokens(&ring(&[7]), None, None);
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    assert_eq!((bytes.len(), bytes[0]), (53 + 16, 0x81));
    assert_eq!(URL_SAFE_NO_PAD.decode(&url).unwrap().len(), 61 + 16);
    // a token of a release before there were visitors, made by another program
    const KNOWN: &str = "AQcAAAAAlDV3AQAAAAAAAIAAcAAAAACQAWHQNkT28WBRjGYoQVUSPPMDAAAA\
        AAAAAAQAAACnXC-wgHNfk9qLxE-Not-n";
    let old = PresentationRef { offer: OfferId(3), channel: ChannelId(4), ..presentation(Some(CUSTOMER)) };
    assert_eq!(ring(&[7]).newest(Purpose::Present).presentation_token(&old, None), KNOWN);
    let read = ring(&[7]).presentation(KNOWN, Bearer::Browser(None), NOW).map(|read| read.presentation);
    assert_eq!(read, Ok(old));
}

#[test]
fn a_record_is_named_but_not_shown() {
    let ring = ring(&[7]);
    let record = RecordRef(0x0102_0304_0506_0708);
    for holder in holders(&ring) {
        for customer in [None, Some(CUSTOMER)] {
            let wanted = PresentationRef { record, ..presentation(customer) };
            let token = ring.newest(Purpose::Present).presentation_token(&wanted, holder);
            let read = ring.presentation(&token, Bearer::Service, NOW).map(|read| read.presentation);
            assert_eq!(read, Ok(wanted));
            let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            assert!(bytes.windows(8).all(|bytes| bytes != record.0.to_le_bytes()));
            let wanted = LinkRef { presentation: wanted, ..link(customer) };
            let url = ring.newest(Purpose::Present).link_url(&wanted, holder);
            let read = ring.link(url.strip_prefix("https://shop.example/c/").unwrap(), NOW).map(|read| read.0);
            assert_eq!(read, Ok(wanted));
            assert_eq!(
                ring.presentation(&url["https://shop.example/c/".len()..], Bearer::Service, NOW),
                Err(TokenError::Forged)
            );
        }
    }
}

#[test]
fn a_browser_hands_in_only_its_own_tokens() {
    let ring = ring(&[7]);
    for customer in [None, Some(CUSTOMER)] {
        for holder in holders(&ring) {
            let (token, _) = tokens(&ring, customer, holder);
            let by = |visitor| ring.presentation(&token, Bearer::Browser(visitor), NOW).map(|_| ());
            let foreign = if holder.is_some() { Err(TokenError::Forged) } else { Ok(()) };
            assert_eq!(by(None), foreign);
            assert_eq!(by(Some(OTHER)), foreign);
            assert_eq!(by(Some(VisitorId(0))), foreign);
            assert_eq!(by(holder.map(|h| h.visitor)), Ok(()));
        }
    }
}

#[test]
fn a_foreign_token_is_forged_whatever_else_it_is() {
    let ring = ring(&[7]);
    let holder = Some(Holder { visitor: VISITOR, origin: VisitorOrigin::Given, memory: Memory::Kept });
    let late = presentation(None).expires_at.plus_us(1);
    let preview = ring.newest(Purpose::Preview).presentation_token(&presentation(None), holder);
    let (token, _) = tokens(&ring, None, holder);
    for (token, now, why) in [(token, late, TokenError::Expired), (preview, NOW, TokenError::Preview)] {
        assert_eq!(ring.presentation(&token, Bearer::Browser(Some(VISITOR)), now), Err(why));
        assert_eq!(ring.presentation(&token, Bearer::Browser(Some(OTHER)), now), Err(TokenError::Forged));
    }
}

#[test]
fn a_preview_is_told_from_what_counts() {
    let ring = ring(&[7]);
    for customer in [None, Some(5)] {
        let signer = ring.newest(Purpose::Preview);
        let token = signer.presentation_token(&presentation(customer), None);
        assert_eq!(ring.presentation(&token, Bearer::Service, NOW), Err(TokenError::Preview));
        let url = signer.link_url(&link(customer), None);
        let token = url.strip_prefix("https://shop.example/c/").unwrap();
        assert_eq!(ring.link(token, NOW), Ok((link(customer), None, Purpose::Preview)));
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let ring = ring(&[7]);
    for text in all(&ring) {
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(takers(&ring, &URL_SAFE_NO_PAD.encode(&altered)), [false; 4], "{text}: bit {bit}");
        }
    }
}

#[test]
fn no_kind_is_taken_for_another() {
    let ring = ring(&[7]);
    for text in all(&ring) {
        let taken = takers(&ring, &text);
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{text}");
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for first in (0..=u8::MAX).filter(|first| *first != bytes[0]) {
            let mut altered = bytes.clone();
            altered[0] = first;
            assert_eq!(takers(&ring, &URL_SAFE_NO_PAD.encode(&altered)), [false; 4], "{text} as {first}");
        }
    }
}

#[test]
fn junk_is_refused() {
    let ring = ring(&[7]);
    let own = visitor_id(&ring, VISITOR, NOW);
    let same = [format!("{own}="), format!(" {own}"), format!("{own}A"), own[1..].to_owned()];
    for junk in ["", "x", "////", "\u{0}", &"A".repeat(256), &"A".repeat(10_000)] {
        assert_eq!(takers(&ring, junk), [false; 4]);
    }
    assert!(same.iter().all(|text| takers(&ring, text) == [false; 4]));
}

#[test]
fn old_keys_verify_after_rotation_and_others_do_not() {
    let (old, rotated, other) = (ring(&[1]), ring(&[1, 2]), ring(&[2]));
    assert_eq!(rotated.signing_key(), 2);
    for text in all(&old) {
        assert_eq!(takers(&rotated, &text), takers(&old, &text));
        assert_eq!(takers(&other, &text), [false; 4]);
    }
    // the same id under another secret
    let renewed = KeyRing::new(&[(1, [9; 32])], "").unwrap();
    assert!(all(&old).iter().all(|text| takers(&renewed, text) == [false; 4]));
    // what was bound to the visitor whom an older key made stays bound
    let made = old.visitor_of(DECISION);
    assert_ne!(rotated.visitor_of(DECISION), made);
    let holder = Some(Holder { visitor: made, origin: VisitorOrigin::Made, memory: Memory::Kept });
    let (token, _) = tokens(&old, None, holder);
    let presented = rotated.presentation(&token, Bearer::Browser(Some(made)), NOW).unwrap();
    assert_eq!(presented.visitor, Some(made));
}

#[test]
fn old_tokens_expire() {
    let ring = ring(&[7]);
    let (token, url) = tokens(&ring, Some(9), None);
    let last = presentation(None).expires_at;
    assert!(ring.presentation(&token, Bearer::Service, last).is_ok());
    assert_eq!(ring.presentation(&token, Bearer::Service, last.plus_us(1)), Err(TokenError::Expired));
    assert_eq!(ring.link(&url, last.plus_us(1)), Err(TokenError::Expired));
    for named in matches() {
        let token = ring.match_token(&named, NOW);
        assert_eq!(ring.matched(&token, NOW.plus_us(MATCH_LIFE_US)), Ok(named));
        assert_eq!(ring.matched(&token, NOW.plus_us(MATCH_LIFE_US + 1)), Err(TokenError::Expired));
    }
}

#[test]
fn a_visitor_id_lives_a_year_and_is_renewed_by_a_quarter() {
    let ring = ring(&[7]);
    let begins = Timestamp(NOW.0.div_euclid(VISITOR_RENEWED_US) * VISITOR_RENEWED_US);
    let first = visitor_id(&ring, VISITOR, begins);
    let last_moment = begins.plus_us(VISITOR_RENEWED_US - 1);
    assert_eq!(visitor_id(&ring, VISITOR, last_moment), first);
    let renewed = visitor_id(&ring, VISITOR, begins.plus_us(VISITOR_RENEWED_US));
    assert_ne!(renewed, first);
    for text in [&first, &renewed] {
        assert_eq!(ring.visitor(text, begins.plus_us(VISITOR_LIFE_US)), Some(VISITOR));
    }
    let later = begins.plus_us(VISITOR_LIFE_US + 1);
    assert_eq!((ring.visitor(&first, later), ring.visitor(&renewed, later)), (None, Some(VISITOR)));
    // whenever it is made, it is good for 300 days at least
    assert_eq!(
        ring.visitor(&visitor_id(&ring, VISITOR, last_moment), last_moment.plus_us(300 * DAY_US)),
        Some(VISITOR)
    );
}

#[test]
fn a_match_token_hides_whom_it_names() {
    let ring = ring(&[7]);
    let [one, other] = matches().map(|named| ring.match_token(&named, NOW));
    assert!(!holds(&one, CUSTOMER) && !holds(&other, CUSTOMER));
    let masked = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap()[HEAD_BYTES..30].to_vec();
    let near = MatchRef::Customer(CustomerKey(CUSTOMER ^ 1));
    let same = masked(&other).iter().zip(masked(&ring.match_token(&near, NOW))).filter(|(a, b)| **a == *b).count();
    assert!(same < 10, "the stream of two tokens is not the same");
    assert_ne!(ring.match_token(&matches()[0], NOW), ring.match_token(&matches()[0], NOW.plus_us(SECOND_US)));
}

/// The next number of a stream (SplitMix64, Steele et al. 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How many tokens of each kind are guessed: a million in all. Those of a match
/// take the longest.
const GUESSES: [usize; 4] = [300_000, 300_000, 300_000, 100_000];

/// Half of them random bytes behind a right beginning (kind, key id, expiry),
/// the others true tokens with some random bytes in the body, the tag or both.
#[test]
fn a_million_guesses_are_in_vain() {
    let ring = &ring(&[7]);
    let true_ones = &all(ring).iter().map(|text| URL_SAFE_NO_PAD.decode(text).unwrap()).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        for (kind, wanted) in GUESSES.into_iter().enumerate() {
            scope.spawn(move || guess(ring, (kind, wanted), true_ones));
        }
    });
}

fn guess(ring: &KeyRing, (kind, wanted): (usize, usize), true_ones: &[Vec<u8>]) {
    let taken_by = |text: &str| match kind {
        0 => ring.presentation(text, Bearer::Service, NOW) != Err(TokenError::Forged),
        1 => ring.link(text, NOW) != Err(TokenError::Forged),
        2 => ring.visitor(text, NOW).is_some(),
        _ => ring.matched(text, NOW) != Err(TokenError::Forged),
    };
    let taken = |bytes: &[u8]| taken_by(&URL_SAFE_NO_PAD.encode(bytes));
    let mine: Vec<&Vec<u8>> = true_ones.iter().filter(|bytes| taken(bytes)).collect();
    let mut state = 0x5eed + kind as u64;
    let mut guesses = 0;
    while guesses < wanted {
        let seed = next(&mut state) as usize;
        let mut bytes = mine[seed % mine.len()].clone();
        let (len, body) = (bytes.len(), bytes.len() - TAG_BYTES);
        let places = match seed >> 32 & 7 {
            0..4 => HEAD_BYTES..len,
            4 => HEAD_BYTES..body,
            5 => body..len,
            6 => body..body + 1,
            _ => 0..len,
        };
        for byte in &mut bytes[places] {
            *byte = next(&mut state) as u8;
        }
        if bytes != *mine[seed % mine.len()] {
            guesses += 1;
            assert!(!taken(&bytes), "taken: {bytes:02x?}");
        }
    }
}
