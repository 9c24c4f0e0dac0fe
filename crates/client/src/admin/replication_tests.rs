use super::*;

fn parse(text: &str) -> Result<ReplicationInfo, AskError> {
    ReplicationInfo::parse(&text.replace('\n', "\r\n"))
}

const REPLICA: &str = "# Replication
role:slave
master_host:127.0.0.1
master_port:23101
master_link_status:up
master_last_io_seconds_ago:0
master_sync_in_progress:0
slave_read_repl_offset:1234
slave_repl_offset:1230
replicas_waiting_psync:0
slave_priority:100
slave_read_only:1
replica_announced:1
connected_slaves:0
master_failover_state:no-failover
master_replid:8f1c7f1a2d3b4c5d6e7f8091a2b3c4d5e6f70812
master_replid2:0000000000000000000000000000000000000000
master_repl_offset:1234
second_repl_offset:-1
repl_backlog_active:1
";

#[test]
fn reads_a_replica() {
    let info = parse(REPLICA).unwrap();
    let ReplicationRole::Replica(link) = &info.role else { panic!("a replica") };
    assert_eq!(link.primary, Endpoint::new("127.0.0.1", 23101));
    assert_eq!((link.link(), link.read_offset), (Link::Up, Some(Offset(1234))));
    assert_eq!((info.offset, info.replid2, info.second_offset), (Offset(1230), None, None));
}

#[test]
fn a_replica_that_may_not_psync_has_no_history() {
    let unnamed = REPLICA.replace("8f1c7f1a2d3b4c5d6e7f8091a2b3c4d5e6f70812", "");
    let placeless = REPLICA.replace("slave_repl_offset:1230", "slave_repl_offset:-1");
    // The stream's bytes are counted from there all the same.
    let counted = REPLICA.replace("active:1\n", "active:1\nrepl_backlog_first_byte_offset:0\n");
    for text in [unnamed, placeless, counted] {
        let info = parse(&text).unwrap();
        assert_eq!((info.replid, info.link()), (ReplicationId::NONE, Some(Link::Up)));
    }
}

/// Seen of 9.1.2: a replica whose primary refused it `psync` was elected.
#[test]
fn a_primary_that_had_no_history_before_is_read() {
    let text = "role:master\nconnected_slaves:0\nmaster_replid:8f1c7f1a2d3b4c5d6e7f8091a2b3c4d5e6f70812\nmaster_replid2:\n\
                master_repl_offset:14\nsecond_repl_offset:14\n";
    let info = parse(text).unwrap();
    assert_eq!((info.replid2, info.branched_from()), (None, None));
}

#[test]
fn tells_a_lost_link_from_one_that_never_was() {
    let down = REPLICA.replace("status:up", "status:down");
    let link = |text: &str| parse(text).unwrap().link().unwrap();
    assert_eq!(
        link(&down.replace("slave_priority", "master_link_down_since_seconds:0\nslave_priority")),
        Link::Lost
    );
    assert_eq!(
        link(&down.replace("slave_priority", "master_link_down_since_seconds:-1\nslave_priority")),
        Link::NeverUp
    );
    assert_eq!(link(&down.replace("in_progress:0", "in_progress:1")), Link::Syncing);
}

#[test]
fn reads_a_primary_of_either_engine() {
    let text = "role:master
connected_slaves:3
slave0:ip=127.0.0.1,port=23102,state=online,offset=140,lag=1,type=replica
slave1:ip=::1,port=23103,state=wait_bgsave,offset=0,lag=0
slave2:ip=n3.example,port=23104,state=bg_transfer,offset=0,lag=-1
master_replid:8f1c7f1a2d3b4c5d6e7f8091a2b3c4d5e6f70812
master_replid2:7f1c7f1a2d3b4c5d6e7f8091a2b3c4d5e6f70812
master_repl_offset:154
second_repl_offset:99
";
    let info = parse(text).unwrap();
    assert_eq!((info.offset, info.second_offset), (Offset(154), Some(Offset(99))));
    assert!(info.replid2.is_some() && info.link().is_none());
    let ReplicationRole::Primary { connected } = &info.role else { panic!("a primary") };
    assert_eq!(
        connected.iter().map(|replica| replica.state).collect::<Vec<_>>(),
        [ReplicaState::Online, ReplicaState::WaitBgsave, ReplicaState::Other]
    );
    assert_eq!(connected[0].lag, Some(Duration::from_secs(1)));
    assert_eq!(connected[2].lag, None);
    let Part::Primary { replicas } = Replication::from(info).part else { panic!("a primary") };
    assert_eq!(replicas.len(), 2, "one announces a name");
    assert!(replicas[0].online && !replicas[1].online);
}

#[test]
fn what_is_wrong_is_named() {
    let wrong = |text: &str| match parse(text) {
        Err(AskError::Garbled { what }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(wrong(""), "`role` is neither master nor slave");
    assert_eq!(wrong("role:slave\n"), "`master_host` is missing");
    assert_eq!(
        wrong(&REPLICA.replace("status:up", "status:odd")),
        "`master_link_status` is neither up nor down"
    );
    assert_eq!(
        wrong(&REPLICA.replace("master_replid:8", "master_replid:z")),
        "`master_replid` is `zf1c7f1a2d3b4c5d6e7f8091a2b3c4d5e6f70812`"
    );
}
