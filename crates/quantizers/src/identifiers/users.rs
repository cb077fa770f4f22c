//! IDs of users, by the same identifiers as those of items.
//!
//! TTDS (arXiv 2409.09253, no code is public) gives users codes of their own from a quantizer over
//! user vectors, and a model reads them in place of a user token. Every identifier works: rows are
//! users, popularity is the length of a history, and where an identifier reads histories it sees
//! each item's users, so `collaborative` groups users who have items in common.
//!
//! Vectors of users must come from training histories alone. Cost beside the identifier: one pass
//! over the interactions.

use sidereal_core::{
    Code, EncoderInput, Identifier, IdentifierInput, ItemId, ItemTable, Quantized, Result, Run,
    Sequences, SidTable, StringColumn, UserId,
};

/// What is known of the users.
#[derive(Clone, Copy)]
pub struct UserInput<'a> {
    /// Training histories, one a user.
    pub train: &'a Sequences,
    /// Codes, codebook and vectors of the users, for identifiers that read them.
    pub quantized: Option<Quantized<'a>>,
}

/// IDs of users: an item of the table is a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSids(SidTable);

impl UserSids {
    /// The IDs that `identifier` gives users.
    ///
    /// Errors: what the identifier refuses. Columns of text are those of items: users have none.
    pub fn identify(
        identifier: &dyn Identifier,
        input: &UserInput<'_>,
        run: &Run<'_>,
    ) -> Result<Self> {
        let users = input.train.len() as u32;
        let names: StringColumn = (0..users).map(|u| format!("user {u:010}")).collect();
        let names = ItemTable::new(names);
        let train = users_of_items(input.train)?;
        let popularity: Vec<u32> =
            (0..users).map(|u| input.train.items(UserId(u)).len() as u32).collect();
        let catalogue = EncoderInput { items: &names, train: &train };
        let input =
            IdentifierInput { catalogue, popularity: &popularity, quantized: input.quantized };
        Ok(UserSids(identifier.identify(&input, run)?))
    }

    /// Takes a table whose items are users.
    pub fn new(table: SidTable) -> Self {
        UserSids(table)
    }

    /// The table; its items are users.
    pub fn table(&self) -> &SidTable {
        &self.0
    }

    /// The first ID of a user.
    pub fn first_sid(&self, user: UserId) -> Option<&[Code]> {
        (user.index() < self.0.n_items()).then(|| self.0.first_sid(ItemId(user.0))).flatten()
    }

    /// Users that carry exactly this ID, ascending.
    pub fn users_of(&self, sid: &[Code]) -> impl Iterator<Item = UserId> {
        self.0.items_of(sid).map(|item| UserId(item.0))
    }
}

/// For each item the users who had it, as often as they had it.
fn users_of_items(train: &Sequences) -> Result<Sequences> {
    let items = train.all_items().iter().map(|item| item.index() + 1).max().unwrap_or(0);
    let mut offsets = vec![0u64; items + 1];
    train.all_items().iter().for_each(|item| offsets[item.index() + 1] += 1);
    (0..items).for_each(|i| offsets[i + 1] += offsets[i]);
    let mut next = offsets.clone();
    let mut users = vec![ItemId(0); train.all_items().len()];
    for (user, history) in train.iter() {
        for item in history {
            users[next[item.index()] as usize] = ItemId(user.0);
            next[item.index()] += 1;
        }
    }
    Sequences::new(offsets, users, None)
}
