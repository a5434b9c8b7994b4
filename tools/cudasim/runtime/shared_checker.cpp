#include "shared_checker.hpp"
#include "engine.hpp"

namespace cudasim {

static const char* name_of(Writer writer) {
    static const char* const names[] = {"nobody", "a store", "a cp.async", "a TMA load"};
    return names[(int)writer];
}

void SharedChecker::begin_block() {
    if (cells_.empty()) {
        cells_.resize(WINDOW_BYTES / CELL_BYTES);
        readers_.resize(WINDOW_BYTES / CELL_BYTES);
    }
    block_++;
    keeps_all_readers_ = false;
}

SharedChecker::Cell& SharedChecker::cell(uint32_t index) {
    Cell& cell = cells_[index];
    if (cell.block != block_) {
        cell = Cell{};
        cell.block = block_;
    }
    return cell;
}

void SharedChecker::list_reader(Thread* thread, uint32_t index, Cell& cell) {
    const uint16_t id = (uint16_t)thread->linear;
    auto& readers = readers_[index];
    if (!cell.listed_readers) {
        readers.clear();
        readers.push_back({cell.read_thread, cell.read_clock});
        if (cell.many_readers) readers.push_back({cell.last_read_thread, cell.last_read_clock});
        cell.many_readers = cell.listed_readers = true;
    }
    // A thread runs alone until it waits, so it rarely comes back with others in between.
    if (readers.back().first == id) readers.back().second = thread->clock;
    else readers.push_back({id, thread->clock});
}

void SharedChecker::read(Thread* thread, uint32_t offset, uint32_t bytes, bool async_proxy, Site at) {
    if (!engine->in_shared_allocation(offset, bytes)) {
        report(at, "reads shared memory out of bounds: offset %u, %u bytes", offset, bytes);
        return;
    }
    for (uint32_t i = offset / CELL_BYTES; i <= (offset + bytes - 1) / CELL_BYTES; i++) {
        Cell& c = cell(i);
        const uint32_t cell_offset = i * CELL_BYTES;
        const Moment written = {c.write_thread, c.write_clock, c.write_generation};
        if (c.copy_pending) {
            report(at, "reads shared offset %u while an asynchronous copy into it is under way (missing wait)",
                   cell_offset);
        } else if (c.writer == Writer::Nobody) {
            report(at, "reads uninitialised shared memory at offset %u", cell_offset);
        } else if (!happened_before(*engine, written, thread)) {
            report(at, "RACE: reads shared offset %u, unordered with %s by thread %u", cell_offset, name_of(c.writer),
                   c.write_thread);
        } else if (async_proxy && c.writer != Writer::Tma &&
                   engine->threads[c.write_thread].proxy_fence < c.write_clock) {
            report(at, "wgmma or TMA reads shared offset %u, written by thread %u without fence.proxy.async",
                   cell_offset,
                   c.write_thread);
        }
        if (!note_reader(c, thread->linear, thread->clock, engine->generation)) list_reader(thread, i, c);
    }
}

void SharedChecker::check_readers_before_write(Thread* thread, uint32_t index, const Cell& cell, Writer writer,
                                               Site at) {
    if (cell.read_generation != engine->generation) return;
    const auto complains = [&](uint32_t reader, uint32_t clock) {
        if (happened_before(*engine, {reader, clock, cell.read_generation}, thread)) return false;
        report(at, "RACE: %s to shared offset %u, unordered with a read by thread %u", name_of(writer),
               index * CELL_BYTES, reader);
        return true;
    };
    if (cell.listed_readers) {
        for (const auto& [reader, clock] : readers_[index])
            if (complains(reader, clock)) return;
    } else if (!complains(cell.read_thread, cell.read_clock) && cell.many_readers) {
        complains(cell.last_read_thread, cell.last_read_clock);
    }
}

void SharedChecker::check_write(Thread* thread, uint32_t offset, uint32_t bytes, Writer writer, Site at) {
    for (uint32_t i = offset / CELL_BYTES; i <= (offset + bytes - 1) / CELL_BYTES; i++) {
        const Cell& c = cell(i);
        const uint32_t cell_offset = i * CELL_BYTES;
        const Moment written = {c.write_thread, c.write_clock, c.write_generation};
        if (c.copy_pending) {
            report(at, "%s to shared offset %u while an asynchronous copy into it is under way", name_of(writer),
                   cell_offset);
        } else if (c.writer != Writer::Nobody && !happened_before(*engine, written, thread)) {
            report(at, "RACE: %s to shared offset %u, unordered with %s by thread %u", name_of(writer), cell_offset,
                   name_of(c.writer), c.write_thread);
        }
        if (c.async_readers)
            report(at, "%s to shared offset %u while a wgmma or TMA store that reads it is under way", name_of(writer),
                   cell_offset);
        check_readers_before_write(thread, i, c, writer, at);
    }
}

void SharedChecker::write(Thread* thread, uint32_t offset, uint32_t bytes, Site at) {
    if (!engine->in_shared_allocation(offset, bytes)) {
        report(at, "writes shared memory out of bounds: offset %u, %u bytes", offset, bytes);
        return;
    }
    check_write(thread, offset, bytes, Writer::Store, at);
    land_copy(offset, bytes, Writer::Store, thread->linear, thread->clock);
}

void SharedChecker::begin_copy(Thread* thread, uint32_t offset, uint32_t bytes, Writer writer, Site at) {
    check_write(thread, offset, bytes, writer, at);
    for (uint32_t i = offset / CELL_BYTES; i <= (offset + bytes - 1) / CELL_BYTES; i++) cell(i).copy_pending = true;
}

void SharedChecker::land_copy(uint32_t offset, uint32_t bytes, Writer writer, uint32_t by_thread, uint32_t clock) {
    for (uint32_t i = offset / CELL_BYTES; i <= (offset + bytes - 1) / CELL_BYTES; i++) {
        Cell& c = cell(i);
        c.copy_pending = false;
        c.writer = writer;
        c.write_thread = (uint16_t)by_thread;
        c.write_clock = clock;
        c.write_generation = engine->generation;
        c.read_generation = 0;
        c.many_readers = c.listed_readers = false;
    }
}

void SharedChecker::begin_async_read(uint32_t offset, uint32_t bytes) {
    for (uint32_t i = offset / CELL_BYTES; i <= (offset + bytes - 1) / CELL_BYTES; i++) cell(i).async_readers++;
}

void SharedChecker::end_async_read(uint32_t offset, uint32_t bytes) {
    for (uint32_t i = offset / CELL_BYTES; i <= (offset + bytes - 1) / CELL_BYTES; i++) cell(i).async_readers--;
}

}  // namespace cudasim
