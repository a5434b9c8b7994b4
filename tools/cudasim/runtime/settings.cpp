#include "settings.hpp"
#include "launch.hpp"
#include <cerrno>
#include <cstdlib>

namespace cudasim {

static bool parse_number(const std::string& text, uint64_t& number) {
    if (text.empty() || text[0] < '0' || text[0] > '9') return false;
    char* end = nullptr;
    errno = 0;
    number = strtoull(text.c_str(), &end, 10);
    return errno == 0 && *end == 0;
}

static bool parse_flag(const std::string& text, bool& flag) {
    if (text != "0" && text != "1") return false;
    flag = text == "1";
    return true;
}

static bool parse_schedule(const std::string& text, Settings& settings) {
    const std::string random = "random:";
    if (text == "forward") settings.schedule = Schedule::Forward;
    else if (text == "reverse") settings.schedule = Schedule::Reverse;
    else if (text.compare(0, random.size(), random) == 0 && parse_number(text.substr(random.size()), settings.seed))
        settings.schedule = Schedule::Random;
    else return false;
    return true;
}

static bool parse_asynchrony(const std::string& text, Settings& settings) {
    if (text == "lazy") settings.asynchrony = Asynchrony::Lazy;
    else if (text == "eager") settings.asynchrony = Asynchrony::Eager;
    else if (text == "random") settings.asynchrony = Asynchrony::Random;
    else return false;
    return true;
}

static bool refuse(const std::string& name, const std::string& value, const char* wanted, std::string& error) {
    error = name + "=" + value + ": expected " + wanted;
    return false;
}

bool set(Settings& settings, const std::string& name, const std::string& value, std::string& error) {
    uint64_t number = 0;
    if (name == "CUDASIM_SCHEDULE")
        return parse_schedule(value, settings) || refuse(name, value, "forward, reverse or random:SEED", error);
    if (name == "CUDASIM_ASYNC")
        return parse_asynchrony(value, settings) || refuse(name, value, "lazy, eager or random", error);
    if (name == "CUDASIM_CHECK") return parse_flag(value, settings.check) || refuse(name, value, "0 or 1", error);
    if (name == "CUDASIM_COUNT") {
        if (value == "all") number = UINT64_MAX;
        else if (!parse_number(value, number)) return refuse(name, value, "a number of blocks, or all", error);
        if (number && !instrumented) return refuse(name, value, "0: only the check build counts", error);
        settings.count = number;
        return true;
    }
    if (name == "CUDASIM_SKEW") return parse_flag(value, settings.skew) || refuse(name, value, "0 or 1", error);
    if (name == "CUDASIM_QUIET") return parse_flag(value, settings.quiet) || refuse(name, value, "0 or 1", error);
    if (name == "CUDASIM_THREADS") {
        if (!parse_number(value, number) || number == 0 || number > 1024)
            return refuse(name, value, "a number of threads from 1 to 1024", error);
        settings.threads = (unsigned)number;
        return true;
    }
    error = name + ": there is no such setting";
    return false;
}

bool settings_from_environment(Settings& settings, std::string& error) {
    for (const char* name : {"CUDASIM_SCHEDULE", "CUDASIM_ASYNC", "CUDASIM_CHECK", "CUDASIM_COUNT", "CUDASIM_SKEW",
                             "CUDASIM_QUIET", "CUDASIM_THREADS"}) {
        const char* value = getenv(name);
        if (value && !set(settings, name, value, error)) return false;
    }
    return true;
}

static bool number_from_environment(const char* name, uint64_t lowest, uint64_t highest, uint64_t& number,
                                    std::string& error) {
    const char* value = getenv(name);
    if (!value) return true;
    if (parse_number(value, number) && number >= lowest && number <= highest) return true;
    error = std::string(name) + "=" + value + ": expected a number from " + std::to_string(lowest) + " to " +
            std::to_string(highest);
    return false;
}

bool machine_from_environment(Machine& machine, std::string& error) {
    uint64_t version = machine.driver_version, devices = machine.devices;
    if (!number_from_environment("CUDASIM_MEMORY", 1 << 20, 1ull << 40, machine.memory, error)) return false;
    if (!number_from_environment("CUDASIM_DRIVER_VERSION", 1000, 99990, version, error)) return false;
    if (!number_from_environment("CUDASIM_DEVICES", 0, 1, devices, error)) return false;
    machine.driver_version = (int)version;
    machine.devices = (int)devices;
    return true;
}

}  // namespace cudasim
