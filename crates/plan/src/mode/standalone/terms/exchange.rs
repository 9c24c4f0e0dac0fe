//! Agents tell each other, and the register, which primary they know.

use super::{Situation, Terms, VOTE_WITHIN_MS};
use crate::mode::standalone::register::{RegisterAsk, RegisterWish, is_seat};
use crate::mode::standalone::roles_file::voted_in;
use crate::protocol::{Command, Outbox, Token};
use std::collections::BTreeMap;
use valkeeper_model::{Ask, KnownVotes, Millis, NodeId};

/// Between two questions to the other seats which primary they know.
const EXCHANGE_MS: u64 = 1_000;
/// Between questions to the register while all is well: each may cost a request to an API server.
const REGISTER_MS: u64 = 5_000;

impl Terms {
    /// Tells the other seats which primary it knows, and asks them the same.
    pub fn exchange(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        self.exchange_with_agents(situation, out);
        self.ask_register(situation, RegisterWish::Exchange, out);
    }

    /// The same, with those with whom it was not done lately.
    pub fn exchange_if_due(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        let is_due = |last: Option<Millis>, ms| last.is_none_or(|at| situation.now.since(at) >= ms);
        if is_due(self.exchanged_at, EXCHANGE_MS) {
            self.exchange_with_agents(situation, out);
        }
        if is_due(self.register_asked_at, REGISTER_MS) {
            self.ask_register(situation, RegisterWish::Exchange, out);
        }
    }

    fn exchange_with_agents(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        let Some(known) = self.known() else { return };
        self.exchanged_at = Some(situation.now);
        self.exchanges.clear();
        for name in situation.order.sibling_names() {
            self.exchanges.insert(out.tell(&name, Ask::Term { known }, VOTE_WITHIN_MS));
        }
    }

    /// Asks the register, if it is a seat. It is told with each question what is on this agent's disk.
    pub(crate) fn ask_register(
        &mut self,
        situation: &Situation<'_>,
        wish: RegisterWish,
        out: &mut Outbox,
    ) -> Option<Token> {
        let order = situation.order;
        if !is_seat(order) {
            return None;
        }
        let votes = self.votes_on_disk()?;
        self.register_asked_at = Some(situation.now);
        let from = order.myself()?.node_id;
        let siblings = order.siblings().map(|(_, member)| member.node_id);
        let agents = siblings.chain([from]).collect();
        let cluster = order.cluster;
        let ask = RegisterAsk { cluster, from, agents, votes, life: self.register_life, wish };
        let token = out.token();
        out.push(Command::AskRegister { token, ask: Box::new(ask), within_ms: VOTE_WITHIN_MS });
        Some(token)
    }

    fn votes_on_disk(&self) -> Option<KnownVotes> {
        let roles = self.roles.as_ref()?;
        let known = self.known();
        let since = known.map(|known| known.term).unwrap_or_default();
        let lines = roles.nodes.iter().filter_map(|line| Some((line.id, voted_in(line)?)));
        let voted: BTreeMap<NodeId, _> = lines.filter(|(_, term)| *term > since).collect();
        let last_vote = voted.values().copied().fold(self.vars().last_vote_epoch, Ord::max);
        Some(KnownVotes { known, last_vote, voted })
    }
}
