//! Who is given an order, and who is given it again.

use super::machine::Controller;
use super::{Command, orders};
use valkeeper_model::{AddressesHash, InstanceName, Millis, Observation, Observed, Unseen};

impl Controller {
    /// Orders for those whose generation is behind and those who were told other addresses. Where nobody is, nobody takes an order: whoever
    /// comes there is told after the look that finds it.
    pub(super) fn order_late(&mut self, now: Millis, seen: &Observation) {
        let Some(layout) = &self.layout else { return };
        let generation = layout.generation;
        self.order_who(now, |name, settled, addresses_hash| match seen.instances.get(name) {
            Some(Observed::Known(report)) => {
                report.generation < generation
                    || settled && report.addresses_hash.is_some_and(|told| told != addresses_hash)
            }
            Some(Observed::Unknown(unseen)) => *unseen != Unseen::Unreachable,
            None => true,
        });
    }

    /// Orders for whom it says, which is asked with whether all are to know these addresses, and which they are.
    pub(super) fn order_who(
        &mut self,
        now: Millis,
        who: impl Fn(&InstanceName, bool, AddressesHash) -> bool,
    ) {
        let Some(layout) = &self.layout else { return };
        let settled = self.places.settled(layout, now);
        let addresses_hash = orders::addresses_hash(layout, &self.places.addresses);
        let names: Vec<_> =
            layout.instances.keys().filter(|name| who(name, settled, addresses_hash)).collect();
        if names.is_empty() {
            return;
        }
        if let Some(members) = orders::members(layout, &self.places.addresses) {
            let rendered =
                names.into_iter().filter_map(|name| orders::order(layout, &members, addresses_hash, name));
            self.out.extend(rendered.map(|order| Command::Order(Box::new(order))));
        }
    }
}
