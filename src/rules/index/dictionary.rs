//! Texts and their numbers.

use xxhash_rust::xxh3::xxh3_64;

/// Texts of one attribute, numbered in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// Numbers plus one at the places of their hashes; 0 is free. A power of
    /// two long, at most half full.
    table: Vec<u32>,
    /// Where each text ends.
    ends: Vec<u32>,
    texts: String,
}

impl Dictionary {
    /// How many texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The number of a text.
    #[inline]
    pub fn get(&self, text: &str) -> Option<u32> {
        let mask = self.table.len().checked_sub(1)?;
        let mut at = xxh3_64(text.as_bytes()) as usize & mask;
        loop {
            match self.table[at] {
                0 => return None,
                number if self.text(number - 1) == text => return Some(number - 1),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// The number of a text, which is added if it is new.
    pub fn insert(&mut self, text: &str) -> u32 {
        if let Some(number) = self.get(text) {
            return number;
        }
        self.texts.push_str(text);
        self.ends.push(self.texts.len() as u32);
        if self.ends.len() * 2 > self.table.len() {
            let places = (self.ends.len() * 4).next_power_of_two();
            self.table = vec![0; places];
            (0..self.ends.len() as u32).for_each(|number| self.place(number));
        } else {
            self.place(self.ends.len() as u32 - 1);
        }
        self.ends.len() as u32 - 1
    }

    fn place(&mut self, number: u32) {
        let mask = self.table.len() - 1;
        let mut at = xxh3_64(self.text(number).as_bytes()) as usize & mask;
        while self.table[at] != 0 {
            at = (at + 1) & mask;
        }
        self.table[at] = number + 1;
    }

    fn text(&self, number: u32) -> &str {
        let number = number as usize;
        let from = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[from as usize..self.ends[number] as usize]
    }

    /// Memory it owns, bytes.
    pub fn bytes(&self) -> usize {
        (self.table.capacity() + self.ends.capacity()) * size_of::<u32>() + self.texts.capacity()
    }

    /// Gives back what it does not need.
    pub fn shrink(&mut self) {
        self.ends.shrink_to_fit();
        self.texts.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::Dictionary;

    #[test]
    fn numbers_texts_in_order_of_arrival() {
        let mut dictionary = Dictionary::default();
        assert_eq!(dictionary.get("a"), None);
        for round in 0..2 {
            for number in 0..1_000_u32 {
                assert_eq!(dictionary.insert(&format!("text {number}")), number, "round {round}");
            }
        }
        dictionary.shrink();
        assert_eq!((dictionary.len(), dictionary.get("text 999"), dictionary.get("text")), (1_000, Some(999), None));
        assert_eq!(dictionary.insert(""), 1_000);
        assert_eq!(dictionary.get(""), Some(1_000));
    }
}
