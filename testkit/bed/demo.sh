#!/usr/bin/env bash
# In a bed: the operator installed, and a manifest become a healthy cluster. `make demo-kubernetes` starts it.
set -euo pipefail
manifest=$1; valkeeper=$VALKEEPER_PROGRAM
step() { echo; echo "\$ $*" >&2; }

step "valkeeper kube manifests | kubectl apply --server-side -f -"
"$valkeeper" kube crds | kubectl apply --server-side -f - > /dev/null
"$valkeeper" kube manifests | kubectl apply --server-side -f - > /dev/null
kubectl -n valkeeper-system rollout status deployment/valkeeper-operator --timeout=120s
step "kubectl valkeeper apply -f $manifest --wait"
# The webhook answers a moment after its operator runs.
until "$valkeeper" --kubernetes apply -f "$manifest" --wait; do sleep 1; done
name=$(kubectl get redisclusters -o 'jsonpath={.items[0].metadata.name}')
step "kubectl get redisclusters,pods"
kubectl get redisclusters; kubectl get pods -o wide
step "kubectl valkeeper status"
"$valkeeper" --kubernetes status
step "kubectl valkeeper cli -- SET greeting hello"
"$valkeeper" --kubernetes cli -- SET greeting hello
step "kubectl delete pod of a primary"
primary=$(kubectl get redisclusters "$name" -o 'jsonpath={.status.shards.s0.primaryPod}')
kubectl delete pod "$primary"
until [ "$(kubectl get redisclusters "$name" -o 'jsonpath={.status.phase}')" = Healthy ]; do sleep 0.5; done
step "kubectl valkeeper events"
"$valkeeper" --kubernetes events
step "kubectl valkeeper cli -- GET greeting"
"$valkeeper" --kubernetes cli -- GET greeting
echo
echo "Done; the bed ends here. \`cargo xtask bed -- bash\` is a shell in another."
