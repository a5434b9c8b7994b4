// Graphs: recorded work and what has to happen before it. They do not keep memory alive.
#pragma once
#include "stream.hpp"

namespace cudasim {

struct Node {
    Work work;
    std::vector<int> after;  // nodes
};

class Graph {
  public:
    int add(Node node);
    size_t size() const { return nodes_.size(); }
    std::vector<int> leaves() const;

    // Runs all nodes in an order that respects the edges: as recorded, or another one by schedule and seed.
    void run(const Settings& settings, uint64_t replay, Outcome& outcome) const;

  private:
    std::vector<Node> nodes_;
};

void* register_graph(std::shared_ptr<Graph> graph);

}  // namespace cudasim
