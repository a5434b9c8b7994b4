// Running a grid: block after block on an engine from the pool, or, unchecked, on several host threads.
#include "engine.hpp"
#include "workers.hpp"
#include <cstring>
#include <numeric>

namespace cudasim {

// Engines that are not in use. There are never more of them than grids (times host threads) have run at once.
class EnginePool {
  public:
    std::unique_ptr<Engine> take() {
        std::lock_guard<std::mutex> guard(mutex_);
        if (idle_.empty()) {
            made_++;
            return std::make_unique<Engine>();
        }
        std::unique_ptr<Engine> engine = std::move(idle_.back());
        idle_.pop_back();
        return engine;
    }
    void give_back(std::unique_ptr<Engine> engine) {
        std::lock_guard<std::mutex> guard(mutex_);
        idle_.push_back(std::move(engine));
    }
    size_t made() {
        std::lock_guard<std::mutex> guard(mutex_);
        return made_;
    }

  private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<Engine>> idle_;
    size_t made_ = 0;
};
static EnginePool pool;

size_t engines_made() { return pool.made(); }

static void reset_threads(Engine& e, const dim3 block) {
    uint3 index = {0, 0, 0};
    for (uint32_t i = 0; i < e.thread_count; i++) {
        Thread& thread = e.threads[i];
        thread.index = index;
        thread.linear = i;
        thread.lane = i % 32;
        thread.warp = i / 32;
        thread.stack = -1;
        thread.finishes_collective = false;
        thread.waits_at = {nullptr, 0};
        thread.clock = 1;
        thread.proxy_fence = 0;
        thread.has_vector_clock = false;
        thread.segment = 0;
        thread.fenced.clear();
        thread.seen.clear();
        thread.acquired.clear();
        thread.copy_group = thread.bulk_group = 0;
        thread.copies.clear();
        thread.bulk_stores.clear();
        if (++index.x == block.x) {
            index.x = 0;
            if (++index.y == block.y) {
                index.y = 0;
                index.z++;
            }
        }
    }
}

static void reset_warps(Engine& e) {
    for (uint32_t i = 0; i * 32 < e.thread_count; i++) {
        Warp& warp = e.warps[i];
        const uint32_t lanes = std::min(32u, e.thread_count - i * 32);
        warp.live = lanes == 32 ? ALL_LANES : (1u << lanes) - 1;
        for (Gathering& gathering : warp.gatherings) gathering.active = false;
        warp.products.clear();
        warp.accumulators.clear();
        warp.product_group = 0;
        warp.fenced = false;
    }
}

static void reset_block(Engine& e, uint32_t block) {
    const Launch& launch = *e.launch;
    e.block = block;
    e.thread_count = e.live = launch.threads_per_block();
    e.dead = false;
    e.random.seed(launch.settings.seed, block);
    e.dynamic_base = e.dynamic_bytes = 0;
    e.static_top = STATIC_START;
    e.statics.clear();
    e.mbarriers.clear();
    e.tma_loads.clear();
    e.tma_clock = 0;
    for (Barrier& barrier : e.barriers) {
        barrier.arrived = 0;
        barrier.divergence_reported = false;
        barrier.clock.clear();
    }
    reset_threads(e, launch.block);
    reset_warps(e);
    if (e.count) e.counter.begin_block(e.thread_count);
    if (!e.check) return;
    e.generation = 1;
    e.shared.begin_block();
    e.global.begin_block(block);
}

static void report_unfinished(const Engine& e) {
    if (!e.tma_loads.empty()) report(e.tma_loads[0].at, "the block exits while a TMA load is under way");
    for (uint32_t i = 0; i * 32 < e.thread_count; i++)
        if (!e.warps[i].products.empty())
            report(e.warps[i].products[0].at, "a warp exits without having waited for its wgmma");
}

static void run_block(Engine& e, uint32_t block) {
    const dim3 grid = e.launch->grid;
    executing.block_index = {block % grid.x, block / grid.x % grid.y, block / grid.x / grid.y};
    reset_block(e, block);
    start_block_threads();
    run_fibers();
    if (e.count) e.counter.block_met();
    if (!e.dead) report_unfinished(e);
}

// The order of blocks: the index of the i-th block to run.
class BlockOrder {
  public:
    explicit BlockOrder(const Launch& launch) : count_(launch.blocks()) {
        if (launch.settings.schedule == Schedule::Reverse) {
            first_ = count_ - 1;
            step_ = count_ - 1;
        } else if (launch.settings.schedule == Schedule::Random) {
            Random random;
            random.seed(launch.settings.seed, count_);
            first_ = random.below(count_);
            do step_ = 1 + random.below(count_);
            while (std::gcd(step_, count_) != 1);
        }
    }
    uint32_t operator[](uint64_t i) const { return (uint32_t)((first_ + i * step_) % count_); }

  private:
    uint64_t count_, first_ = 0, step_ = 1;  // step and count have no common divisor, so every block has its turn
};

// True if block `index` is one of about `wanted` that stand for all: runs of consecutive blocks, evenly spaced, since
// neighbours may share a ticket. Runs begin at multiples of their length.
static bool is_sampled(uint64_t index, uint64_t blocks, uint64_t wanted) {
    constexpr uint64_t RUN = 16;
    if (wanted >= blocks) return true;
    const uint64_t all_runs = (blocks + RUN - 1) / RUN, runs = std::max<uint64_t>(1, wanted / RUN);
    const uint64_t run = index / RUN, which = run * runs / all_runs;
    // The middle one of the runs that are as near to the same sample.
    const uint64_t first = (which * all_runs + runs - 1) / runs, last = ((which + 1) * all_runs + runs - 1) / runs - 1;
    return run == (first + last) / 2;
}

// Takes blocks by `next` until there are none, on the calling host thread.
static void run_blocks(Launch& launch, std::atomic<uint64_t>& next) {
    std::unique_ptr<Engine> own = pool.take();
    engine = own.get();
    engine->launch = &launch;
    engine->check = launch.checked();
    engine->count = launch.counted();
    if (engine->count) engine->counter.begin_launch();
    engine->global.begin_launch(launch.id);
    executing.block_dim = {launch.block.x, launch.block.y, launch.block.z};
    executing.grid_dim = {launch.grid.x, launch.grid.y, launch.grid.z};
    const BlockOrder order(launch);
    for (uint64_t i; (i = next.fetch_add(1)) < launch.blocks() && !launch.abandoned;)
        if (!launch.counted() || is_sampled(i, launch.blocks(), launch.settings.count))
            run_block(*engine, order[i]);
    if (engine->check) {
        launch.bytes_read = engine->global.bytes_read;
        launch.bytes_written = engine->global.bytes_written;
    }
    if (engine->count) launch.counts = engine->counter.take();
    engine->launch = nullptr;
    engine = nullptr;
    pool.give_back(std::move(own));
}

void run_grid(Launch& launch) {
    static std::atomic<uint32_t> launches{0};
    launch.id = launches.fetch_add(1) + 1;
    if (launch.counted()) {
        launch.settings.schedule = Schedule::Forward;
        launch.settings.asynchrony = Asynchrony::Lazy;
    }
    std::atomic<uint64_t> next{0};
    const bool one_by_one = launch.checked() || launch.counted();
    const uint64_t host_threads = one_by_one ? 1 : std::min<uint64_t>(launch.settings.threads, launch.blocks());
    run_on_workers((unsigned)host_threads, [&] { run_blocks(launch, next); });
}

}  // namespace cudasim
