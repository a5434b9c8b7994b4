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

// The innermost line that is not in cudasim's own headers. Innermost frames come first.
static std::string ask_addr2line(const void* code) {
    Dl_info library;
    if (!dladdr(code, &library) || !library.dli_fname) return "unknown code";
    // A return address belongs to the line after the call.
    size_t offset = (const char*)code - 1 - (const char*)library.dli_fbase;
    char command[4096], line[4096];
    snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%zx 2>/dev/null", library.dli_fname, offset);
    std::string site;
    if (FILE* pipe = popen(command, "r")) {
        while (fgets(line, sizeof line, pipe)) {
            std::string frame(line, strcspn(line, " \n"));
            const bool known = frame[0] != '?' && frame.find("cudasim_") == std::string::npos;
            if (site.empty() && known) site = base_name(frame);
        }
        pclose(pipe);
    }
    if (!site.empty()) return site;
    snprintf(line, sizeof line, "line unknown (is addr2line of binutils installed?) at +0x%zx", offset);
    return line;
}

static std::string source_line(Site at) {
    if (!is_code(at)) return at.file ? base_name(at.file) + ":" + std::to_string(at.line) : "launch";
    static std::mutex mutex;
    static std::map<const void*, std::string> known;
    std::lock_guard<std::mutex> guard(mutex);
    std::string& line = known[at.file];
    if (line.empty()) line = ask_addr2line(at.file);
    return line;
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
    launch.reports.add(at, format, std::string("[") + launch.kernel->name + "] " + source_line(at) + who + ": " + what);
}

}  // namespace cudasim
