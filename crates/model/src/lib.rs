//! The words of Valkeeper as types: what is wanted (spec), chosen (layout), seen (observation), done next (steps) and
//! explained (report). No I/O, no async, no clock.

mod agent;
mod aside_cause;
mod automatic_promotion;
mod called_as;
mod client_trouble;
mod conditions;
mod copy;
mod demotion;
mod fences;
mod format;
mod happened;
mod hibernation;
mod ids;
mod kubernetes;
mod layout;
mod life;
pub mod manifest;
mod newer;
pub mod nodes_conf;
mod operation;
mod pod_template;
mod port_errors;
mod progress;
mod promotion_token;
mod refusal;
mod register;
mod replica_fault;
mod replica_mode;
mod report;
mod request;
mod resizing;
mod roll;
mod sentinel;
mod server;
mod server_version;
mod slots;
pub mod spec;
mod start_failure;
mod step;
mod trial;
mod waiting;

pub use agent::{
    Activity, AddressesHash, AgentOrder, AgentReport, Answer, Ask, AskFailed, Death, DiskAccess, DiskRole,
    LeaseSeats, LookRefused, Member, PrimaryTerm, Process, ReplicaStanding, RestartTurn, Run, ShardSeat,
    StopsWith, VoteRefusal,
};
pub use aside_cause::AsideCause;
pub use automatic_promotion::{AutomaticPromotion, SourceWitness};
pub use called_as::CalledAs;
pub use client_trouble::{AccessFault, ClientTrouble, Paused};
pub use conditions::{Condition, ConditionReason, ConditionType, conditions};
pub use copy::{
    AofOnDisk, AofRecord, AofTail, CopyRecord, CopySource, CopyState, HeldCopy, Position, SeenPosition,
};
pub use demotion::{
    DataLoss, Demotion, DemotionForecast, DemotionHold, HeldData, Lost, ReplacedCopy, ReplacedData, Resync,
};
pub use fences::{FencedBy, FencedInstances, FencedInstancesFault, Fences};
pub use format::{Format, Unreadable};
pub use happened::{Happened, HibernationHappened, ResizeHappened, RollHappened, SlotHappened};
pub use hibernation::{Hibernation, HibernationStage, HibernationWish, NoHibernationWish};
pub use ids::{
    Address, ClusterId, ClusterName, Epoch, Generation, Incarnation, InstanceName, InvalidId, Millis, NodeId,
    Observed, Offset, ReplicationId, ShardId, ShardName, Unseen, ZoneName,
};
pub use kubernetes::{Bytes, ImagePullPolicy, KubernetesSpec, Maintenance, Storage};
pub use layout::{Instance, Layout, LayoutVersion, OrderedSince, ServerConfig, Shard};
pub use life::{InstanceLife, ShardLife};
pub use newer::{Newer, NewerFields};
pub use operation::{
    Disturbance, DisturbanceEnd, DisturbedBy, DisturbingRequest, Ledger, Operation, OperationName,
    RoleSwitch, SlotMove, SlotMoveCheckpoint, SlotMoveStage, SlotMoveTarget, SlotTransfer, SwitchCheckpoint,
    SwitchTarget, TransferExtent,
};
pub use pod_template::{PodTemplate, TemplateHash};
pub use port_errors::{ProvisionError, StorageFault, StoreError};
pub use progress::{Progress, ProgressUnit};
pub use promotion_token::{PromotionPoint, PromotionToken, TokenFault, UsedToken};
pub use refusal::{
    FenceRefusal, HibernationRefusal, Impossible, Refusal, ReplicaModeRefusal, ResizeRefusal, RollRefusal,
    SlotRefusal, Unfit,
};
pub use register::{
    KnownVotes, RegisterFault, RegisterLife, RegisterRecord, RegisterStage, RegisterVotes, Renewals,
};
pub use replica_fault::{ReplicaCause, ReplicaFault};
pub use replica_mode::{
    BeforeHandover, HeldBack, HeldBackCopy, PromotionLoss, ReplicaMode, ReplicaModeReport, ReplicaModeSpec,
    ReplicaModeStage, Source, SourceFault, SourceOrder, SourcePlace, SourceReport, SourceSentinels,
    SourceView, host_and_port,
};
pub use report::{InstanceReport, Observation, Phase, Report, ShardReport};
pub use request::{RebalanceBy, Request, ResizeRequest, SlotRequest, WhichSlots};
pub use resizing::{HostFate, InstanceMoves, MoveCause, ResizeOperation, RetiredInstance};
pub use roll::{GivenUp, Kept, Roll, RollCheckpoint, RollFault, RollTarget, ServerSetup};
pub use sentinel::{
    KnownReplica, Sentinel, SentinelFault, SentinelMember, SentinelOrder, SentinelReport, SentinelSeen,
    SentinelSpec, SentinelView, Sentinels, SentinelsOrder,
};
pub use server::{
    AofStatus, AttachedReplica, ChangeCount, EngineKind, Followed, Link, MemoryFull, Part, Replication, Role,
    ServerView, SlowCommand, Topology, TopologyNode,
};
pub use server_version::{ImageVersion, ServerVersion};
pub use slots::{InvalidSlot, Slot, SlotRange, SlotSet};
pub use spec::{
    ClusterSpec, DriftPolicy, MaxMemory, MaxMemoryPolicy, Mode, Persistence, PrimaryUpdate, RestartPolicy,
    UpdateSpec, ZonePolicy,
};
pub use start_failure::StartFailure;
pub use step::StepKey;
pub use trial::{InvalidDirective, PasswordFault, Trial};
pub use waiting::{
    KubernetesWaiting, LeavingStage, ReplicaModeWaiting, ResizeWaiting, RollWaiting, SentinelWaiting,
    UnseenWord, Waiting,
};
