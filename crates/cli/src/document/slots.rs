//! Slots in a cell of a table. Those that were moved one by one are scattered: all of them are in the document for programs.

use valkeeper_model::SlotSet;

/// Characters of a cell.
const CELL: usize = 40;

/// So many of them as a cell has room for.
pub(crate) fn some_of(slots: &SlotSet) -> String {
    let mut text = String::new();
    for range in slots.ranges() {
        let next = range.to_string();
        if text.len() + next.len() > CELL {
            return text + " …";
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&next);
    }
    text
}

/// The same, and how many they are if they are not all shown.
pub(crate) fn some_of_owned(slots: &SlotSet) -> String {
    let some = some_of(slots);
    if some == slots.to_string() { some } else { format!("{} slots: {some}", slots.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use valkeeper_model::Slot;

    #[test]
    fn a_cell_has_room_for_some_slots() {
        let scattered: SlotSet = (0..200).map(|n| Slot::try_from(n * 80).unwrap()).collect();
        let text = some_of(&scattered);
        assert!(text.ends_with(" …") && text.chars().count() <= CELL + 2, "{text}");
        assert!(some_of_owned(&scattered).starts_with("200 slots: 0 80 "));
        let few: SlotSet = "0-99 300".parse().unwrap();
        assert_eq!((some_of(&few), some_of_owned(&few)), ("0-99 300".to_owned(), "0-99 300".to_owned()));
        assert_eq!(some_of_owned(&SlotSet::empty()), "");
    }
}
