#!/usr/bin/env bash
# A real Kubernetes on one machine without Docker: etcd, apiserver, controller-manager, scheduler, CoreDNS, and N nodes, each a network
# namespace with its own kubelet, containerd, runc, bridge CNI and kube-proxy, in zones z1..zN. Everything lives in one private network,
# mount and pid namespace and dies with it. docs/testbed.md says how to use it; `cargo xtask bed` starts it:
#
#   BIN=folder of `xtask kube`  IMAGES=folder of `xtask images`  [KEEP=1] [VOLUMES=8]  bed.sh [N] -- COMMAND...
set -euo pipefail
say() { echo "bed: $*" >&2; }
refuse() { say "$1"; echo "hint: $2" >&2; exit 1; }

controllers=/sys/fs/cgroup
# Frozen processes cannot be killed: whatever a test froze is let go first.
thaw() { find "$controllers/freezer/$1" -name freezer.state -exec sh -c 'for state; do echo THAWED > "$state"; done' - {} + 2>/dev/null || true; }
release() { # FOLDER of a bed that has ended: its cgroups
  local id; id=$(basename "$1"); thaw "$id"
  for _ in $(seq 50); do
    find "$controllers"/*/"$id" -depth -type d -exec rmdir {} + 2>/dev/null || true
    compgen -G "$controllers/*/$id" > /dev/null || break
    sleep 0.1
  done
}

# Outside: starts the bed, ends it when told to or when our parent is gone, and clears up after it.
outside() {
  [ "$(id -u)" = 0 ] || refuse "needs root" "namespaces, cgroups and mounts are root's"
  [ -d $controllers/cpuset ] && [ -d $controllers/freezer ] || refuse "needs cgroup v1 controllers in $controllers" "boot with systemd.unified_cgroup_hierarchy=0"
  local shelf=${TMPDIR:-/tmp} other child watch rc=0
  run=$(mktemp -d "$shelf/bed.XXXXXX"); export RUN=$run
  # All of the bed holds this lock, so a folder whose lock is free is what a bed left that was killed by force.
  exec 9> "$run/.lock"; flock 9; mv "$run/.lock" "$run/lock"
  for other in "$shelf"/bed.*/lock; do
    [ -e "${other%/*}/kept" ] || ( flock -n 8 && release "${other%/*}" && rm -rf "${other%/*}" ) 8< "$other" || true
  done

  # In the background, as a shell runs its traps between commands and in `wait` only. That takes away stdin and ^C: given back here.
  IN_BED=1 env --default-signal=INT,QUIT setpriv --pdeathsig KILL \
    unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@" <&0 & child=$!
  stop() {
    trap '' INT TERM HUP
    # Its first process, not unshare itself: the kernel lets unshare see the end of that one when all others are gone.
    while kill -0 $child 2>/dev/null; do
      thaw "$(basename "$run")"; kill -KILL $(cat /proc/$child/task/$child/children 2>/dev/null) 2>/dev/null || true; sleep 0.1
    done
    rc=$1
  }
  trap 'stop 130' INT; trap 'stop 143' TERM; trap 'stop 129' HUP
  # Of the process, not of the thread that started us, as the kernel's own signal at a parent's death is.
  ( while read -r _ _ _ parent _ < /proc/$$/stat && [ "$parent" = $PPID ]; do sleep 0.5; done; kill -TERM $$ ) </dev/null >/dev/null 2>&1 9>&- & watch=$!
  wait $child || rc=$?
  trap '' INT TERM HUP
  kill $watch 2>/dev/null || true
  release "$run"
  if [ -n "${KEEP:-}" ]; then touch "$run/kept"; say "kept $run"; else rm -rf "$run"; fi
  exit $rc
}

start() { # NAME LOG COMMAND...: by the very script that a test starts it again with
  local name=$1 log=$2; shift 2
  {
    printf '#!/usr/bin/env bash\n# Starts %s, once an earlier one has ended.\nset -e\nexport PATH=%q\npid=%q\n' "$name" "$PATH" "$run/pids/$name"
    cat <<'T'
for _ in $(seq 100); do kill -0 "$(cat "$pid" 2>/dev/null)" 2>/dev/null || gone=1; [ -z "$gone" ] || break; sleep 0.1; done
[ -n "$gone" ] || { echo "error: $pid still runs" >&2; exit 1; }
T
    printf 'cd %q\nsetsid' "$run"; printf ' %q' "$@"; printf ' < /dev/null >> %q 2>&1 &\necho $! > "$pid"\n' "$log"
  } > "restart/$name"
  chmod +x "restart/$name"; "restart/$name"
}

# Certificates, static tokens and kubeconfigs (a test bed: nothing here is meant to keep anyone out).
key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
certificate() { # NAME SUBJECT ALTNAMES
  openssl req "${key[@]}" -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" -extfile <(echo "subjectAltName=$3") 2>/dev/null
}
user() { # NAME USER [GROUP]
  echo "$1-token,$2,$1${3:+,\"$3\"}" >> tokens.csv
  cat > "$1.kubeconfig" <<T
{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: bed, user: u}}],
 clusters: [{name: bed, cluster: {server: "https://$api:6443", certificate-authority: $run/ca.crt}}], users: [{name: u, user: {token: $1-token}}]}
T
}
identities() {
  openssl req -x509 "${key[@]}" -keyout ca.key -out ca.crt -days 30 -subj /CN=test-ca 2>/dev/null
  certificate apiserver /CN=kube-apiserver "IP:127.0.0.1,IP:$api,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
  certificate kubelet-client /O=system:masters/CN=apiserver-kubelet DNS:x
  openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  local i
  user admin admin system:masters; user controllers system:kube-controller-manager system:masters; user scheduler system:kube-scheduler
  user proxy system:kube-proxy; user dns system:coredns system:masters
  for i in $(seq "$nodes"); do user "node$i" "system:node:node$i" system:nodes; done
}

control_plane() {
  start etcd etcd.log etcd --data-dir etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:0 --unsafe-no-fsync
  start apiserver apiserver.log kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --advertise-address=$api --secure-port=6443 \
    --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key --client-ca-file=ca.crt --token-auth-file=tokens.csv \
    --kubelet-client-certificate=kubelet-client.crt --kubelet-client-key=kubelet-client.key --kubelet-preferred-address-types=InternalIP \
    --authorization-mode=Node,RBAC --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true --profiling=false \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=sa.pub --service-account-signing-key-file=sa.key
  until answers https://$api:6443/readyz; do within 120 "the apiserver is not ready" apiserver.log etcd.log; done
  took "apiserver ready"; touch ready
  start controllers controllers.log kube-controller-manager --kubeconfig=controllers.kubeconfig --leader-elect=false --bind-address=127.0.0.1 \
    --root-ca-file=ca.crt --service-account-private-key-file=sa.key --cluster-signing-cert-file=ca.crt --cluster-signing-key-file=ca.key \
    --node-monitor-grace-period=10s
  # It ends itself when a pod stands on another node than it had assumed, as after the API server was away: a kubelet would start it again.
  start scheduler scheduler.log bash -c 'while :; do "$@" || true; sleep 1; done' _ \
    kube-scheduler --kubeconfig=scheduler.kubeconfig --leader-elect=false --bind-address=127.0.0.1
  # Of other names it says that there are none, as a resolver of a real cluster does; refused, a client would ask again.
  cat > Corefile <<T
cluster.local:53 in-addr.arpa:53 {
  bind $api
  ready $api:8181
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $run/dns.kubeconfig
    ttl 1
    pods insecure
  }
}
.:53 {
  bind $api
  template ANY ANY {
    rcode NXDOMAIN
  }
}
T
  start dns dns.log coredns -conf Corefile
}

# The local disks of the nodes: a claim of the class `local`, or of none, binds to one where its pod is scheduled.
volumes() {
  local i k
  {
    cat <<T
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
T
    # The last two hold as much as other people's manifests ask for: a folder limits nothing.
    small=${VOLUMES:-8}
    for i in $(seq "$nodes"); do for k in $(seq "$((small + 2))"); do
      if ((k > small)); then size=100Gi; else size=1Gi; fi
      mkdir -p "node$i/volumes/$k"; chmod 0777 "node$i/volumes/$k"
      cat <<T
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: node$i-$k}
spec:
  storageClassName: local
  capacity: {storage: $size}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  local: {path: $run/node$i/volumes/$k}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node$i]}]}]}}
T
    done; done
  } > volumes.yaml
  kubectl create -f volumes.yaml > /dev/null
  kubectl create clusterrolebinding proxy --clusterrole=system:node-proxier --user=system:kube-proxy > /dev/null
}

proxy() { # NAME LOG NODE [COMMAND...]: Services as the namespace sees them that the command enters
  local name=$1 log=$2 as=$3; shift 3
  start "$name" "$log" "$@" kube-proxy --kubeconfig="$run/proxy.kubeconfig" --proxy-mode=nftables --hostname-override="$as" \
    --cluster-cidr=10.80.0.0/16 --conntrack-max-per-core=0
}

node() { # NUMBER
  local i=$1 dir=$run/node$1 address=10.77.3.$1 host="nsenter --net=/run/netns/node$1" c f m
  mkdir -p "$dir/cni"
  ip link add "veth$i" type veth peer name eth0 netns "node$i"; ip link set "veth$i" master br0 up
  ip -n "node$i" addr add "$address/16" dev eth0; ip -n "node$i" link set lo up; ip -n "node$i" link set eth0 up
  ip -n "node$i" route add default via $api; $host sysctl -qw net.ipv4.ip_forward=1
  for m in $(seq "$nodes"); do [ "$m" = "$i" ] || ip -n "node$i" route add "10.80.$m.0/24" via "10.77.3.$m"; done
  ip route replace "10.80.$i.0/24" via "$address"
  # Each kubelet has its own cgroup root: kubelets that share one delete each other's pods' cgroups.
  for c in $controllers/*/; do mkdir -p "$c/$id/node$i" 2>/dev/null || true; done
  for f in cpus mems; do for c in "$id" "$id/node$i"; do cat $controllers/cpuset/cpuset.$f > "$controllers/cpuset/$c/cpuset.$f"; done; done
  # What a node of this size gives its pods, beside kubelet and containerd; all pods of all nodes would share the weight of one process else.
  if [ -w "$controllers/cpu/$id/cpu.shares" ]; then
    echo 2048 > "$controllers/cpu/$id/node$i/cpu.shares"; echo $((2048 * nodes)) > "$controllers/cpu/$id/cpu.shares"
  fi
  cat > "$dir/cni/10-bed.conflist" <<T
{"cniVersion": "1.0.0", "name": "bed", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": {"type": "host-local", "dataDir": "$dir/ipam",
  "ranges": [[{"subnet": "10.80.$i.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}, {"type": "portmap", "capabilities": {"portMappings": true}}]}
T
  cat > "$dir/containerd.toml" <<T
version = 3
root = "$dir/root"
state = "$dir/state"
[grpc]
  address = "$dir/c.sock"
[ttrpc]
  address = "$dir/c.sock.ttrpc"
[plugins."io.containerd.nri.v1.nri"]
  disable = true # its socket has one path for all
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "local.test/pause:p"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "$dir/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
T
  cat > "$dir/kubelet.yaml" <<T
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication: {x509: {clientCAFile: $run/ca.crt}, anonymous: {enabled: false}, webhook: {enabled: true}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$dir/c.sock
cgroupDriver: cgroupfs
cgroupRoot: /$id/node$i
failCgroupV1: false
enforceNodeAllocatable: []
failSwapOn: false
syncFrequency: 10s
resolvConf: ""
clusterDNS: [$api]
clusterDomain: cluster.local
nodeStatusUpdateFrequency: 2s
evictionHard: {memory.available: "50Mi", nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
T
  start "node$i-containerd" "$dir/containerd.log" $host containerd -c "$dir/containerd.toml"
  until ctr -a "$dir/c.sock" version > /dev/null 2>&1; do within 120 "containerd of node$i does not answer" "$dir/containerd.log"; done
  for f in "$IMAGES"/*.tar; do ctr -a "$dir/c.sock" -n k8s.io image import "$f" >> "$dir/images.log" 2>&1; done
  until [ -e ready ]; do sleep 0.1; done
  start "node$i-kubelet" "$dir/kubelet.log" $host kubelet --config="$dir/kubelet.yaml" --kubeconfig="$run/node$i.kubeconfig" \
    --hostname-override="node$i" --node-ip="$address" --root-dir="$dir/kubelet" --cert-dir="$dir/pki" --node-labels="topology.kubernetes.io/zone=z$i"
  proxy "node$i-proxy" "$dir/proxy.log" "node$i" $host
}

took() { say "$(( ($(date +%s%N) - since) / 1000000 )) ms: $1"; }
answers() { [ "$(curl -sk -m 2 -o /dev/null -w '%{http_code}' "$1")" = 200 ]; } # URL
within() { # SECONDS WHAT LOG...: for the body of a loop that waits
  [ $(( $(date +%s%N) - since )) -lt "${1}000000000" ] || { say "$2"; tail -n 10 "${@:3}" >&2; exit 1; }
  sleep 0.2
}
nodes_ready() {
  [ "$(kubectl get nodes --no-headers 2>/dev/null | grep -cw Ready)" = "$nodes" ] && kubectl get serviceaccount default > /dev/null 2>&1
}
volumes_available() { # Each is looked at by a controller first: a pod that comes earlier waits for ten seconds.
  [ "$(kubectl get persistentvolumes --no-headers 2>/dev/null | grep -cw Available)" = $((nodes * (${VOLUMES:-8} + 2))) ]
}
services_answer() { # Also from the nodes, so that the first pod there may ask for something at once.
  local i
  answers http://$api:8181/ready && answers https://10.96.0.1/readyz || return 1
  for i in $(seq "$nodes"); do nsenter --net="/run/netns/node$i" curl -sk -m 2 -o /dev/null https://10.96.0.1/readyz || return 1; done
}

# The first process of the namespaces: the bed ends with it.
inside() {
  run=$RUN; id=$(basename "$run"); nodes=3; api=10.77.0.1
  local since i job jobs=() caller=$PWD
  since=$(date +%s%N)
  [ "${1:-}" = -- ] || { nodes=$1; shift; }; shift
  [ $# -gt 0 ] || refuse "no command" "bed.sh [N] -- COMMAND..."
  trap 'thaw "$id"' EXIT
  export PATH=$BIN:$PATH KUBECONFIG=$run/admin.kubeconfig
  cd "$run"; mkdir pids restart
  mkdir -p /run/netns /run/containerd; mount -t tmpfs bed /run/netns; mount -t tmpfs bed /run/containerd
  ip link set lo up; ip link add br0 type bridge; ip addr add $api/16 dev br0; ip link set br0 up
  # A packet to a Service needs a way out before it is sent elsewhere.
  sysctl -qw net.ipv4.ip_forward=1; ip route add 10.96.0.0/16 dev br0
  identities
  for i in $(seq "$nodes"); do ip netns add "node$i"; done # not side by side: its first use makes /run/netns a shared mount
  for i in $(seq "$nodes"); do node "$i" & jobs+=($!); done
  control_plane
  printf 'nameserver %s\noptions timeout:1\n' $api > resolv.conf; mount --bind resolv.conf /etc/resolv.conf
  volumes & jobs+=($!)
  proxy proxy proxy.log node1
  for job in "${jobs[@]}"; do wait "$job" || { say "did not come up"; tail -n 5 node*/images.log >&2; exit 1; }; done
  until nodes_ready; do within 180 "nodes not ready" node*/kubelet.log node*/containerd.log; done
  until volumes_available; do within 200 "volumes not available" controllers.log; done
  until services_answer; do within 200 "Services do not answer" dns.log proxy.log node*/proxy.log; done
  took "$nodes nodes ready"
  cd "$caller"
  env -u IN_BED -u RUN -u BIN -u IMAGES -u KEEP -u VOLUMES BED_RUN="$run" BED_ID="$id" BED_NODES="$nodes" "$@"
}

: "${BIN:?}" "${IMAGES:?}"
if [ -z "${IN_BED:-}" ]; then outside "$@"; else inside "$@"; fi
