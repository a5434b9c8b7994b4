#include "graph.hpp"
#include "counts.hpp"
#include "handles.hpp"
#include <algorithm>

namespace cudasim {

struct GraphExec {
    std::shared_ptr<const Graph> graph;
    std::atomic<uint64_t> replays{0};
};

static Handles<Graph> graphs;
static Handles<GraphExec> graph_execs;

void* register_graph(std::shared_ptr<Graph> graph) { return graphs.add(std::move(graph)); }
size_t graph_count() { return graphs.count(); }
size_t graph_exec_count() { return graph_execs.count(); }

int Graph::add(Node node) {
    nodes_.push_back(std::move(node));
    return (int)nodes_.size() - 1;
}

std::vector<int> Graph::leaves() const {
    std::vector<bool> has_successor(nodes_.size());
    for (const Node& node : nodes_)
        for (int before : node.after) has_successor[before] = true;
    std::vector<int> leaves;
    for (size_t i = 0; i < nodes_.size(); i++)
        if (!has_successor[i]) leaves.push_back((int)i);
    return leaves;
}

void Graph::run(const Settings& settings, uint64_t replay, Outcome& outcome) const {
    std::vector<size_t> missing(nodes_.size());
    std::vector<std::vector<int>> successors(nodes_.size());
    std::vector<int> ready;
    for (size_t i = 0; i < nodes_.size(); i++) {
        missing[i] = nodes_[i].after.size();
        for (int before : nodes_[i].after) successors[before].push_back((int)i);
        if (!missing[i]) ready.push_back((int)i);
    }
    Random random;
    random.seed(settings.seed, replay);
    while (!ready.empty() && outcome.reports.empty()) {
        auto pick = ready.begin();
        if (settings.schedule == Schedule::Random) pick += random.below(ready.size());
        else if (settings.schedule == Schedule::Forward) pick = std::min_element(ready.begin(), ready.end());
        else pick = std::max_element(ready.begin(), ready.end());
        const int node = *pick;
        ready.erase(pick);
        nodes_[node].work(outcome);
        for (int next : successors[node])
            if (--missing[next] == 0) ready.push_back(next);
    }
}

}  // namespace cudasim

using namespace cudasim;

CUDA_API cuGraphInstantiateWithFlags(void** exec, void* handle, unsigned long long flags) {
    constexpr unsigned AUTO_FREE = 1, DEVICE_LAUNCH = 4, ALL_FLAGS = 15;
    *exec = nullptr;
    const std::shared_ptr<Graph> graph = graphs.find(handle);
    if (!graph) return fail(INVALID_VALUE, "cuGraphInstantiate: there is no such graph");
    if (flags & ~(unsigned long long)ALL_FLAGS || ((flags & AUTO_FREE) && (flags & DEVICE_LAUNCH)))
        return fail(INVALID_VALUE, "cuGraphInstantiate: these flags do not go together");
    auto instance = std::make_shared<GraphExec>();
    instance->graph = graph;
    *exec = graph_execs.add(std::move(instance));
    return SUCCESS;
}

CUDA_API cuGraphLaunch(void* handle, void* stream) {
    const std::shared_ptr<GraphExec> exec = graph_execs.find(handle);
    if (!exec) return fail(INVALID_VALUE, "cuGraphLaunch: there is no such executable graph");
    const Settings settings = this_thread().settings;
    return submit(stream, [exec, settings](Outcome& outcome) {
        exec->graph->run(settings, exec->replays.fetch_add(1), outcome);
    });
}

CUDA_API cuGraphUpload(void* handle, void*) {
    return graph_execs.find(handle) ? SUCCESS : fail(INVALID_VALUE, "cuGraphUpload: there is no such executable graph");
}
CUDA_API cuGraphExecDestroy(void* handle) {
    return graph_execs.remove(handle) ? SUCCESS : fail(INVALID_VALUE, "cuGraphExecDestroy: there is no such graph");
}
CUDA_API cuGraphDestroy(void* handle) {
    return graphs.remove(handle) ? SUCCESS : fail(INVALID_VALUE, "cuGraphDestroy: there is no such graph");
}

// Only the count: nodes cannot be looked into.
CUDA_API cuGraphGetNodes(void* handle, void** nodes, size_t* count) {
    const std::shared_ptr<Graph> graph = graphs.find(handle);
    if (!graph) return fail(INVALID_VALUE, "cuGraphGetNodes: there is no such graph");
    if (nodes) return fail(NOT_SUPPORTED, "cuGraphGetNodes: only the number of nodes is simulated");
    *count = graph->size();
    return SUCCESS;
}
