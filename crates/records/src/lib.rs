//! What people mean when they say "my messages": conversations, contacts, calls, notes, photos and the like, read out of the databases of a
//! backup and written as what a browser, a spreadsheet or an address book opens.

#![cfg_attr(test, allow(clippy::unwrap_used))]
