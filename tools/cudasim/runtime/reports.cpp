// Reports of the checker: kernel, site, thread and text. The site of a memory access is a code address, which addr2line
// turns into a line.
#include "engine.hpp"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <map>

namespace cudasim {

constexpr size_t MOST_REPORTS = 32;

bool Reports::wants(Site at, const char* kind) {
    std::lock_guard<std::mutex> guard(mutex_);
    for (Entry& entry : entries_)
        if (entry.at.file == at.file && entry.at.line == at.line && entry.kind == kind) {
            entry.times++;
            return false;
        }
    return entries_.size() < MOST_REPORTS;
}

void Reports::add(Site at, const char* kind, const std::string& line) {
    std::lock_guard<std::mutex> guard(mutex_);
    entries_.push_back({at, kind, line, 1});
    count_.store(entries_.size(), std::memory_order_relaxed);
}

std::vector<std::string> Reports::lines() const {
    std::lock_guard<std::mutex> guard(mutex_);
    std::vector<std::string> lines;
    for (const Entry& entry : entries_) {
        lines.push_back(entry.line);
        if (entry.times > 1) lines.back() += " [" + std::to_string(entry.times) + " times]";
    }
    return lines;
}

static std::string base_name(const std::string& path) {
    size_t slash = path.rfind('/');
    return slash == std::string::npos ? path : path.substr(slash + 1);
}

// Headers whose lines say less than those that call them.
static bool is_helper(const std::string& file) {
    return file.rfind("cudasim_", 0) == 0 || file.rfind("prelude.cuh", 0) == 0 || file.rfind("index.cuh", 0) == 0;
}

// The lines of places in the code, as addr2line says them: the innermost one that is not a helper's. Innermost frames
// come first, behind the address.
static std::vector<std::string> ask_addr2line(const std::vector<const void*>& places) {
    std::vector<std::string> found(places.size());
    Dl_info library;
    if (places.empty() || !dladdr(places[0], &library) || !library.dli_fname) return found;
    std::string command = std::string("addr2line -a -i -e '") + library.dli_fname + "'";
    for (const void* place : places) {
        // A return address belongs to the line after the call.
        char offset[32];
        snprintf(offset, sizeof offset, " 0x%zx", (size_t)((const char*)place - 1 - (const char*)library.dli_fbase));
        command += offset;
    }
    if (FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r")) {
        char line[4096];
        size_t place = (size_t)-1;
        while (fgets(line, sizeof line, pipe)) {
            if (line[0] == '0' && line[1] == 'x') {
                place++;
                continue;
            }
            const std::string frame = base_name(std::string(line, strcspn(line, " \n")));
            if (place >= found.size() || frame[0] == '?') continue;
            if (found[place].empty() || is_helper(found[place])) found[place] = frame;
        }
        pclose(pipe);
    }
    for (size_t i = 0; i < places.size(); i++)
        if (found[i].empty()) {
            const size_t offset = (const char*)places[i] - 1 - (const char*)library.dli_fbase;
            char text[128];
            snprintf(text, sizeof text, "line unknown (is addr2line of binutils installed?) at +0x%zx", offset);
            found[i] = text;
        }
    return found;
}

std::vector<std::string> source_lines(const std::vector<Site>& sites) {
    static std::mutex mutex;
    static std::map<const void*, std::string> known;
    std::lock_guard<std::mutex> guard(mutex);
    std::vector<const void*> places;
    for (const Site& at : sites)
        if (is_code(at) && known.try_emplace(at.file).second) places.push_back(at.file);
    const std::vector<std::string> found = ask_addr2line(places);
    for (size_t i = 0; i < places.size(); i++) known[places[i]] = found[i];
    std::vector<std::string> lines;
    for (const Site& at : sites)
        lines.push_back(is_code(at) ? known[at.file]
                        : at.file   ? base_name(at.file) + ":" + std::to_string(at.line)
                                    : "launch");
    return lines;
}

void report(Site at, const char* format, ...) {
    Launch& launch = *engine->launch;
    if (!launch.reports.wants(at, format)) return;
    char what[1024], who[160] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (const ThreadPosition* thread = executing.thread) {
        const uint3 b = executing.block_index, t = thread->index;
        snprintf(who, sizeof who, ": block (%u,%u,%u) thread (%u,%u,%u)", b.x, b.y, b.z, t.x, t.y, t.z);
    }
    const std::string place = std::string("[") + launch.kernel->name + "] " + source_lines({at})[0];
    launch.reports.add(at, format, place + who + ": " + what);
}

}  // namespace cudasim
