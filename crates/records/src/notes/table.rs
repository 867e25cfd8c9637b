//! A table in a note: objects that name each other by number, as many devices may have edited it at once.
//!
//! Rows and columns are ordered sets of identifiers, and a dictionary of dictionaries says which text is in which cell. Numbers are looked up,
//! never followed further than this needs.

use std::collections::HashMap;

use super::document::{Document, DocumentError, LONGEST_TEXT, Paragraph};
use crate::protobuf::{Damaged, Message};

/// A larger table is given as its text only.
const MOST_CELLS: usize = 100_000;

/// A table: rows of cells, each of which is paragraphs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table {
    pub(super) rows: Vec<Vec<Vec<Paragraph>>>,
    pub(super) right_to_left: bool,
}

/// The objects of a table, by their numbers.
struct Objects<'a> {
    entries: Vec<Message<'a>>,
    keys: Vec<&'a [u8]>,
    types: Vec<&'a [u8]>,
    ids: HashMap<&'a [u8], u64>,
}

impl Table {
    /// Reads an unpacked table.
    pub(super) fn parse(unpacked: &[u8]) -> Result<Table, DocumentError> {
        let data = Message::new(unpacked).message(2)?.ok_or(DocumentError::NoText)?;
        let data = data.message(3)?.ok_or(DocumentError::NoText)?;
        let ids: Vec<&[u8]> = data.bytes(6).collect::<Result<_, _>>()?;
        let objects = Objects {
            entries: data.messages(3).collect::<Result<_, _>>()?,
            keys: data.bytes(4).collect::<Result<_, _>>()?,
            types: data.bytes(5).collect::<Result<_, _>>()?,
            ids: ids.into_iter().zip(0..).collect(),
        };
        let mut root = None;
        for map in objects.entries.iter().filter_map(|entry| entry.message(13).transpose()) {
            let map = map?;
            if objects.name_of(&objects.types, map.number(1)?) == Some(b"com.apple.notes.ICTable") {
                root = Some(map);
                break;
            }
        }
        objects.table(root.ok_or(DocumentError::NoText)?)
    }

    /// How many columns the widest row has.
    pub(super) fn columns(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }
}

impl<'a> Objects<'a> {
    fn name_of(&self, names: &[&'a [u8]], number: Option<i64>) -> Option<&'a [u8]> {
        names.get(usize::try_from(number?).ok()?).copied()
    }

    /// The object that a reference names.
    fn object(&self, reference: Option<Message<'a>>) -> Result<Message<'a>, Damaged> {
        let number = reference.ok_or(Damaged)?.number(6)?.ok_or(Damaged)?;
        usize::try_from(number).ok().and_then(|number| self.entries.get(number)).copied().ok_or(Damaged)
    }

    /// The number of the identifier that an object stands for.
    fn id(&self, object: Message<'a>) -> Result<u64, Damaged> {
        let map = object.message(13)?.ok_or(Damaged)?;
        let value = map.messages(3).next().ok_or(Damaged)??.message(2)?.ok_or(Damaged)?;
        Ok(value.number(2)?.ok_or(Damaged)?.cast_unsigned())
    }

    /// The keys and values of a dictionary.
    fn pairs(&self, dictionary: Option<Message<'a>>) -> Result<Vec<(Message<'a>, Message<'a>)>, Damaged> {
        let Some(dictionary) = dictionary else { return Ok(Vec::new()) };
        dictionary
            .messages(1)
            .map(|element| {
                let element = element?;
                Ok((self.object(element.message(1)?)?, self.object(element.message(2)?)?))
            })
            .collect()
    }

    fn table(&self, root: Message<'a>) -> Result<Table, DocumentError> {
        let (mut rows, mut columns) = (HashMap::new(), HashMap::new());
        let (mut height, mut width, mut cells, mut right_to_left) = (0, 0, None, false);
        for entry in root.messages(3) {
            let entry = entry?;
            let object = self.object(entry.message(2)?);
            match self.name_of(&self.keys, entry.number(1)?) {
                Some(b"crRows") => (rows, height) = self.order(object?)?,
                Some(b"crColumns") => (columns, width) = self.order(object?)?,
                Some(b"cellColumns") => cells = Some(object?),
                Some(b"crTableColumnDirection") => {
                    let direction = object?.message(13)?.and_then(|map| map.messages(3).next()).transpose()?;
                    let direction = direction.map(|entry| entry.message(2)).transpose()?.flatten();
                    let direction = direction.map(|value| value.text(4)).transpose()?.flatten();
                    right_to_left = direction == Some("CRTableColumnDirectionRightToLeft");
                }
                _ => {}
            }
        }
        if height.saturating_mul(width) > MOST_CELLS {
            return Err(DocumentError::TooLong);
        }
        let mut table = Table { rows: vec![vec![Vec::new(); width]; height], right_to_left };
        let Some(cells) = cells else { return Ok(table) };
        // Dictionaries and texts may be named again and again, so what is done is counted, and not what there is.
        let (mut looked_at, mut length) = (0, 0);
        for (column, inner) in self.pairs(cells.message(6)?)? {
            let Some(&column) = columns.get(&self.id(column)?) else { continue };
            for (row, cell) in self.pairs(inner.message(6)?)? {
                looked_at += 1;
                let Some(&row) = rows.get(&self.id(row)?) else { continue };
                if let Some(note) = cell.message(10)? {
                    let cell = Document::of_note(note)?;
                    length += cell.text.len();
                    if looked_at > MOST_CELLS || length > LONGEST_TEXT {
                        return Err(DocumentError::TooLong);
                    }
                    table.rows[row][column] = cell.paragraphs()?;
                }
            }
        }
        Ok(table)
    }

    /// Where each identifier of an ordered set stands, and how many places there are.
    fn order(&self, object: Message<'a>) -> Result<(HashMap<u64, usize>, usize), Damaged> {
        let ordering = object.message(16)?.and_then(|set| set.message(1).transpose()).transpose()?.ok_or(Damaged)?;
        let mut places = HashMap::new();
        let mut count = 0;
        if let Some(array) = ordering.message(1)? {
            for place in array.messages(2) {
                let id = place?.bytes(2).last().transpose()?.ok_or(Damaged)?;
                if let Some(&number) = self.ids.get(id) {
                    places.insert(number, count);
                }
                count += 1;
            }
        }
        // A row that was moved or pasted goes by a second identifier.
        for (key, value) in self.pairs(ordering.message(2)?)? {
            if let Some(&place) = places.get(&self.id(key)?) {
                places.insert(self.id(value)?, place);
            }
        }
        Ok((places, count))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protobuf::write::{bytes, number};

    fn reference(object: usize) -> Vec<u8> {
        number(6, object as u64)
    }

    fn pairs(pairs: &[(usize, usize)]) -> Vec<u8> {
        pairs.iter().flat_map(|&(key, value)| bytes(1, [bytes(1, reference(key)), bytes(2, reference(value))].concat())).collect()
    }

    /// An object that stands for an identifier.
    fn of_id(id: u64) -> Vec<u8> {
        bytes(13, [number(1, 1), bytes(3, [number(1, 4), bytes(2, number(2, id))].concat())].concat())
    }

    fn set(ids: &[u8], same: &[(usize, usize)]) -> Vec<u8> {
        let places: Vec<u8> = ids.iter().flat_map(|&id| bytes(2, [number(1, 0), bytes(2, [id; 16])].concat())).collect();
        bytes(16, bytes(1, [bytes(1, places), bytes(2, pairs(same))].concat()))
    }

    /// A table of two rows and two columns with texts in three cells; its second row goes by another identifier.
    pub(crate) fn table() -> Vec<u8> {
        let cell = |text: &str| bytes(10, bytes(2, text));
        let entries = [
            // 0: the table
            bytes(
                13,
                [
                    number(1, 0),
                    bytes(3, [number(1, 0), bytes(2, reference(1))].concat()),
                    bytes(3, [number(1, 1), bytes(2, reference(2))].concat()),
                    bytes(3, [number(1, 2), bytes(2, reference(3))].concat()),
                ]
                .concat(),
            ),
            // 1, 2: rows and columns
            set(&[0, 1], &[(7, 10)]),
            set(&[2, 3], &[]),
            // 3: which cells are in which column, 4 and 5: which are in which row
            bytes(6, pairs(&[(8, 4), (9, 5)])),
            bytes(6, pairs(&[(6, 11), (10, 12)])),
            bytes(6, pairs(&[(6, 13)])),
            // 6 to 10: identifiers
            of_id(0),
            of_id(1),
            of_id(2),
            of_id(3),
            of_id(4),
            // 11 to 13: texts
            cell("a | b"),
            cell("below"),
            cell("<right>"),
        ];
        let entries: Vec<u8> = entries.iter().flat_map(|entry| bytes(3, entry)).collect();
        let keys: Vec<u8> =
            ["crRows", "crColumns", "cellColumns", "x", "UUIDIndex"].iter().flat_map(|key| bytes(4, key)).collect();
        let types: Vec<u8> =
            ["com.apple.notes.ICTable", "com.apple.CRDT.NSUUID"].iter().flat_map(|name| bytes(5, name)).collect();
        let ids: Vec<u8> = (0..5_u8).flat_map(|id| bytes(6, [id; 16])).collect();
        bytes(2, [number(2, 1), bytes(3, [entries, keys, types, ids].concat())].concat())
    }

    #[test]
    fn cells_come_to_where_they_were() {
        let table = Table::parse(&table()).unwrap();
        let text = |cell: &Vec<Paragraph>| cell.iter().flat_map(|p| &p.spans).map(|span| span.text.clone()).collect::<String>();
        let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(text).collect()).collect();
        assert_eq!(rows, [["a | b", "<right>"], ["below", ""]]);
        assert_eq!(table.columns(), 2);
    }

    #[test]
    fn no_damage_makes_it_panic() {
        let whole = table();
        for at in 0..whole.len() {
            for value in [0, 1, 6, 13, 0x7f, 0xff] {
                let mut bad = whole.clone();
                bad[at] = value;
                Table::parse(&bad).ok();
            }
            Table::parse(&whole[..at]).ok();
        }
        assert_eq!(Table::parse(&[]).unwrap_err(), DocumentError::NoText);
    }
}
