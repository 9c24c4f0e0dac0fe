use super::*;
use proptest::prelude::*;
use std::net::IpAddr;

/// Written by valkey-server 9.1.2.
const FILE: &str = "\
d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a01 127.0.0.1:23001@33001,,tls-port=0,shard-id=8c6d3e5ae4b1c0f1f5a6dd0a42ab5b7c8d9e0f10 myself,master - 0 1763817000000 1 connected 0-5460 [93->-d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a02] [77-<-d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a02]
d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a02 127.0.0.1:23002@33002,n2.example,shard-id=8c6d3e5ae4b1c0f1f5a6dd0a42ab5b7c8d9e0f11 master,fail? - 1763817000001 1763817000000 2 connected 5461-10922 16383
d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a03 ::1:23003@33003 slave,nofailover d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a01 0 0 1 disconnected
d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a04 :0@0 slave,fail,noaddr d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a01 0 0 1 disconnected
d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a05 127.0.0.1:23005@33005 handshake - 0 0 0 disconnected
vars currentEpoch 7 lastVoteEpoch 6
";

#[test]
fn reads_every_kind_of_line() {
    let conf = parse(FILE).unwrap();
    assert_eq!(conf.vars, Some(Vars { current_epoch: Epoch(7), last_vote_epoch: Epoch(6) }));
    let [me, suspect, replica, lost, stranger] = &conf.nodes[..] else { panic!("five nodes") };
    assert!(me.flags.myself && me.link_up && conf.myself() == Some(me));
    assert_eq!(me.aux["shard-id"], "8c6d3e5ae4b1c0f1f5a6dd0a42ab5b7c8d9e0f10");
    assert_eq!(me.hostname, None);
    assert_eq!((me.slots.to_string(), me.config_epoch), ("0-5460".to_owned(), Epoch(1)));
    assert_eq!(me.migrating, [(Slot::try_from(93).unwrap(), suspect.id)]);
    assert_eq!(me.importing, [(Slot::try_from(77).unwrap(), suspect.id)]);
    assert!(suspect.flags.pfail && !suspect.flags.fail);
    assert_eq!(suspect.hostname.as_deref(), Some("n2.example"));
    assert_eq!(suspect.slots.len(), 5463);
    assert!(replica.is_replica() && replica.flags.nofailover && !replica.link_up);
    assert_eq!(replica.primary, Some(me.id));
    assert_eq!(replica.address.as_ref().map(|at| at.ip), Some("::1".parse::<IpAddr>().unwrap()));
    assert!(lost.flags.noaddr && lost.flags.fail && lost.address.is_none());
    assert!(stranger.flags.handshake && stranger.flags.role.is_none());
    let mut canonical = conf.clone();
    // The engine orders auxiliary fields otherwise; their order means nothing.
    canonical.nodes[0].aux.remove("tls-port");
    assert_eq!(render(&canonical), FILE.replace("tls-port=0,", ""));
}

#[test]
fn a_fresh_server_does_not_know_its_own_ip() {
    let conf =
        parse("d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a01 :23001@33001 myself,master - 0 0 0 connected\n")
            .unwrap();
    assert_eq!(conf.nodes[0].address, None);
    assert!(!conf.nodes[0].flags.noaddr && conf.vars.is_none());
}

#[test]
fn redis_7_0_gets_no_auxiliary_part() {
    let id = "d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a01".parse().unwrap();
    let address = Address { ip: "127.0.0.1".parse().unwrap(), port: 7000, bus_port: 17000 };
    let mut node = NodeLine::new(id, Some(address), Role::Primary);
    node.flags.myself = true;
    let text = render(&NodesConf { nodes: vec![node], vars: Some(Vars::default()) });
    assert_eq!(
        text,
        "d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a01 127.0.0.1:7000@17000 myself,master - 0 0 0 connected\n\
         vars currentEpoch 0 lastVoteEpoch 0\n"
    );
}

#[test]
fn every_way_to_be_wrong_names_its_line() {
    let good = "d3f9c9cb5a5a2f2b2b1bd3b6cf2d6b9b4c1f0a01 127.0.0.1:1@2 master - 0 0 1 connected";
    let cases = [
        (good.to_owned(), 1, "the last line has no end: the text is torn"),
        (format!("{good} 1-\n"), 1, "not a slot or a range of slots"),
        (format!("{good} +1\n"), 1, "not a slot"),
        (format!("{good} 16384\n"), 1, "not a slot or a range of slots"),
        (format!("{good} 1-5 5\n"), 1, "a slot is claimed twice"),
        (format!("{good} [1->-\n"), 1, "an open slot without `]`"),
        (format!("{good} [1-x-{}]\n", "a".repeat(40)), 1, "an open slot is `[slot->-id]` or `[slot-<-id]`"),
        (format!("{good}\n{good}\n"), 2, "a node occurs twice"),
        (format!("{good} 5\n{} 5\n", good.replace("01 ", "02 ")), 2, "a slot is claimed twice"),
        (
            good.replace("master", "myself,master")
                + "\n"
                + &good.replace("01 ", "02 ").replace("master", "myself")
                + "\n",
            2,
            "two nodes are `myself`",
        ),
        (good.replace("master", "master,slave") + "\n", 1, "a flag occurs twice, or both roles do"),
        (good.replace("master", "mast") + "\n", 1, "an unknown flag"),
        (good.replace("@2", "") + "\n", 1, "the address has no bus port"),
        (good.replace("127.0.0.1", "localhost") + "\n", 1, "not an IP address"),
        (good.replace(":1@", ":99999@") + "\n", 1, "no such port"),
        (good.replace("connected", "up") + "\n", 1, "the link is neither `connected` nor `disconnected`"),
        ("d3f9\n".to_owned(), 1, "not a node id"),
        (good.replace(" connected", "") + "\n", 1, "a node has at least eight fields"),
        (good.replace("- 0", "- -1") + "\n", 1, "not a number"),
        (format!("{good}\nvars currentEpoch 1\n"), 2, "`vars` wants `currentEpoch <n> lastVoteEpoch <n>`"),
        (format!("vars currentEpoch 1 lastVoteEpoch 0\n{good}\n"), 2, "nothing may follow `vars`"),
    ];
    for (text, line, reason) in cases {
        assert_eq!(parse(&text), Err(NodesConfError { line, reason }), "{text}");
    }
}

fn id() -> impl Strategy<Value = NodeId> {
    any::<[u8; 20]>().prop_map(NodeId::from_bytes)
}

fn address() -> impl Strategy<Value = Address> {
    (any::<IpAddr>(), any::<u16>(), any::<u16>()).prop_map(|(ip, port, bus_port)| Address {
        ip,
        port,
        bus_port,
    })
}

fn flags() -> impl Strategy<Value = NodeFlags> {
    let role = prop_oneof![Just(None), Just(Some(Role::Primary)), Just(Some(Role::Replica))];
    (role, any::<[bool; 5]>()).prop_map(|(role, [pfail, fail, handshake, noaddr, nofailover])| NodeFlags {
        myself: false,
        role,
        pfail,
        fail,
        handshake,
        noaddr,
        nofailover,
    })
}

fn open_slots() -> impl Strategy<Value = Vec<(Slot, NodeId)>> {
    prop::collection::vec(((0..Slot::COUNT).prop_map(|slot| Slot::try_from(slot).unwrap()), id()), 0..3)
}

fn line() -> impl Strategy<Value = NodeLine> {
    let place = (
        prop::option::of(address()),
        prop::option::of("[a-z0-9.-]{1,20}"),
        prop::collection::btree_map("[a-z-]{1,12}", "[A-Za-z0-9=.-]{0,20}", 0..4),
    );
    let state = (flags(), prop::option::of(id()), any::<[u64; 3]>(), any::<bool>());
    (id(), place, state, open_slots(), open_slots()).prop_map(|(id, place, state, migrating, importing)| {
        NodeLine {
            id,
            address: place.0,
            hostname: place.1,
            aux: place.2,
            flags: state.0,
            primary: state.1,
            ping_sent: state.2[0],
            pong_received: state.2[1],
            config_epoch: Epoch(state.2[2]),
            link_up: state.3,
            slots: SlotSet::empty(),
            migrating,
            importing,
        }
    })
}

prop_compose! {
    fn conf()(
        mut nodes in prop::collection::vec(line(), 0..12),
        owners in prop::collection::vec((0..12_usize, 0..Slot::COUNT, 0..200_u16), 0..30),
        vars in prop::option::of(any::<[u64; 2]>()),
        me in prop::option::of(0..12_usize),
    ) -> NodesConf {
        nodes.sort_by_key(|node| node.id);
        nodes.dedup_by_key(|node| node.id);
        let mut free = SlotSet::all();
        for (owner, first, more) in owners {
            let last = (first + more).min(Slot::COUNT - 1);
            let range: SlotSet = format!("{first}-{last}").parse().unwrap();
            if let Some(node) = nodes.get_mut(owner) {
                let taken = free.minus(&free.minus(&range));
                free = free.minus(&taken);
                node.slots = node.slots.union(&taken);
            }
        }
        if let Some(node) = me.and_then(|at| nodes.get_mut(at)) {
            node.flags.myself = true;
        }
        let vars = vars.map(|[current, voted]| Vars { current_epoch: Epoch(current), last_vote_epoch: Epoch(voted) });
        NodesConf { nodes, vars }
    }
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(conf in conf()) {
        prop_assert_eq!(parse(&render(&conf)), Ok(conf));
    }

    #[test]
    fn a_torn_text_is_never_a_whole_cluster(conf in conf(), cut in any::<prop::sample::Index>()) {
        let text = render(&conf);
        prop_assume!(!text.is_empty());
        let torn = &text[..cut.index(text.len())];
        match parse(torn) {
            Err(_) => {}
            // Only a cut between two lines can pass, and a file then shows it by its missing last line.
            Ok(less) => prop_assert!(torn.is_empty() || torn.ends_with('\n') && (less.vars.is_none() || conf.vars.is_none())),
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}(\n\\PC{0,80}){0,4}\n?") {
        let _ = parse(&text);
    }

    #[test]
    fn damaged_text_never_panics(conf in conf(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = render(&conf).into_bytes();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(conf) = parse(&String::from_utf8_lossy(&bytes)) {
            prop_assert_eq!(parse(&render(&conf)), Ok(conf));
        }
    }
}
