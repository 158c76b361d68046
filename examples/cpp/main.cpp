// fusion BUNDLE [--feed FOLDER] [--steps N]
//
// Runs an EdgeFuse bundle over streams of samples at the rates that its manifest declares: first the whole graph at
// every step, then part by part, where a branch runs again only when its sensor has delivered.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <map>
#include <openvino/core/except.hpp>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "edgefuse_bundle.hpp"
#include "edgefuse_model.hpp"

namespace {

namespace fs = std::filesystem;
using edgefuse::Bundle;
using edgefuse::Error;
using edgefuse::Model;
using edgefuse::Part;
using edgefuse::TensorSpec;

const char* const kUsageText = "Usage: fusion BUNDLE [--feed FOLDER] [--steps N]";
constexpr std::size_t kSteps = 1000, kMaxSteps = 10'000'000;

struct Options {
    fs::path bundle;
    std::optional<fs::path> feed;
    std::optional<std::size_t> steps;

    // One step compares the outputs of a feed; measuring takes many.
    std::size_t step_count() const { return steps.value_or(feed ? 1 : kSteps); }
};

std::size_t parse_count(const std::string& text) {
    std::size_t count = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, count);
    if (error != std::errc() || rest != end || count < 1 || count > kMaxSteps)
        throw Error(edgefuse::kUsage, "--steps is '" + text + "'; expected a number from 1 to 10000000", "",
                    kUsageText);
    return count;
}

Options parse_arguments(const std::vector<std::string>& arguments) {
    Options found;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& word = arguments[i];
        const bool flag = word == "--feed" || word == "--steps";
        if (flag && i + 1 == arguments.size()) throw Error(edgefuse::kUsage, word + " needs a value", "", kUsageText);
        if (word == "--feed")
            found.feed = arguments[++i];
        else if (word == "--steps")
            found.steps = parse_count(arguments[++i]);
        else if (word.empty() || word[0] == '-' || !found.bundle.empty())
            throw Error(edgefuse::kUsage, "did not expect '" + word + "'", "", kUsageText);
        else
            found.bundle = word;
    }
    if (found.bundle.empty()) throw Error(edgefuse::kUsage, "BUNDLE is missing", "", kUsageText);
    return found;
}

bool is_state(const Bundle& bundle, const std::string& input) {
    return std::any_of(bundle.state.begin(), bundle.state.end(), [&](const auto& pair) { return pair.first == input; });
}

// When the sensors deliver: a tick is a sample of the fastest one. A stream without a rate delivers once (a prompt, a
// goal), but where no stream has one, all deliver at every tick.
class Schedule {
  public:
    explicit Schedule(const Bundle& bundle) {
        for (const TensorSpec& input : bundle.inputs)
            if (!is_state(bundle, input.name)) rates_[input.stream] = std::max(rates_[input.stream], input.rate_hz);
        for (const auto& [stream, rate] : rates_) fastest_hz_ = std::max(fastest_hz_, rate);
    }

    Model::Streams delivered(std::size_t tick) const {
        Model::Streams found;
        for (const auto& [stream, rate] : rates_)
            if (tick == 0 || fastest_hz_ == 0 || samples_by(tick, rate) > samples_by(tick - 1, rate))
                found.insert(stream);
        return found;
    }

    double fastest_hz() const { return fastest_hz_; }

    void print() const {
        std::cout << "streams    ";
        for (const auto& [stream, rate] : rates_) {
            std::cout << ' ' << stream << ' ';
            if (rate > 0)
                std::cout << rate << " Hz";
            else
                std::cout << (fastest_hz_ > 0 ? "once" : "every step");
        }
        std::cout << '\n';
    }

  private:
    double samples_by(std::size_t tick, double rate) const {
        return std::floor(static_cast<double>(tick) * rate / fastest_hz_);
    }

    std::map<std::string, double> rates_;
    double fastest_hz_ = 0;
};

// Stands for the drivers of a robot: the samples of every input, which start again when they end.
class Sensors {
  public:
    // From `folder`, or made up: noise in floats and bytes, zeros in other numbers, which may be indices.
    Sensors(const Bundle& bundle, const std::optional<fs::path>& folder) {
        for (const TensorSpec& input : bundle.inputs) {
            const bool state = is_state(bundle, input.name);
            const auto data = folder ? read(*folder, input, state) : make(input, state);
            inputs_.push_back({input.name, input.stream, state, input.bytes, data});
        }
    }

    // The state's first value; it stays zero where the feed holds none.
    void start(Model& model) const {
        for (const Input& input : inputs_)
            if (input.state && !input.data.empty()) write(model, input, 0);
    }

    // Writes the streams' next samples into the model's inputs. A driver would write there itself.
    void deliver(const Model::Streams& streams, Model& model) {
        for (Input& input : inputs_)
            if (!input.state && streams.count(input.stream)) write(model, input, input.next++);
    }

    void rewind() {
        for (Input& input : inputs_) input.next = 0;
    }

    static fs::path file_of(const fs::path& folder, const std::string& tensor);

  private:
    struct Input {
        std::string name, stream;
        bool state;
        std::size_t bytes;
        std::vector<char> data;
        std::size_t next = 0;
    };

    static std::vector<char> read(const fs::path& folder, const TensorSpec& input, bool state) {
        const fs::path path = file_of(folder, input.name);
        std::ifstream stream(path, std::ios::binary);
        const bool readable = stream && fs::is_regular_file(path);
        if (!readable && state) return {};
        if (!readable)
            throw Error(edgefuse::kBadInput, "cannot be read", path.string(), "It holds the input's samples.");
        std::vector<char> data{std::istreambuf_iterator<char>(stream), {}};
        if (data.empty() || data.size() % input.bytes != 0)
            throw Error(edgefuse::kBadInput,
                        "has " + std::to_string(data.size()) + " bytes; expected samples of " +
                            std::to_string(input.bytes) + " bytes (" + input.text() + ")",
                        path.string());
        return data;
    }

    static std::vector<char> make(const TensorSpec& input, bool state) {
        if (state) return {};
        std::vector<char> data(input.bytes);
        std::mt19937 generator;
        if (input.dtype == "float32") {
            std::uniform_real_distribution<float> uniform;
            for (std::size_t at = 0; at < data.size(); at += sizeof(float)) {
                const float value = uniform(generator);
                std::memcpy(&data[at], &value, sizeof value);
            }
        } else if (input.dtype == "uint8") {
            for (char& byte : data) byte = static_cast<char>(generator());
        }
        return data;
    }

    static void write(Model& model, const Input& input, std::size_t sample) {
        const std::size_t count = input.data.size() / input.bytes;
        std::memcpy(model.tensor(input.name).data(), &input.data[sample % count * input.bytes], input.bytes);
    }

    std::vector<Input> inputs_;
};

// A tensor's name may hold a '/' or a space: they become %2F and %20, as in a URL.
fs::path Sensors::file_of(const fs::path& folder, const std::string& tensor) {
    std::string file;
    for (const char letter : tensor) {
        const auto byte = static_cast<unsigned char>(letter);
        if (byte < 128 && (std::isalnum(byte) || std::strchr("-._~", byte)))
            file += letter;
        else
            file += {'%', "0123456789ABCDEF"[byte >> 4], "0123456789ABCDEF"[byte & 15]};
    }
    return folder / (file + ".bin");
}

// Writes every step's outputs, one after another, into OUTPUT.whole.bin and OUTPUT.parts.bin.
class Recorder {
  public:
    Recorder(const Bundle& bundle, const fs::path& folder, const std::string& way) {
        for (const std::string& name : bundle.outputs) {
            const fs::path path = Sensors::file_of(folder, name).replace_extension(way + ".bin");
            files_.emplace_back(name, std::ofstream(path, std::ios::binary));
            if (!files_.back().second) throw Error(edgefuse::kBadInput, "cannot be written", path.string());
        }
    }

    void record(const Model& model) {
        for (auto& [name, file] : files_) {
            const ov::Tensor tensor = model.tensor(name);
            file.write(static_cast<const char*>(tensor.data()), static_cast<std::streamsize>(tensor.get_byte_size()));
            if (!file) throw Error(edgefuse::kBadInput, "cannot be written: is the disk full?", name);
        }
    }

  private:
    std::vector<std::pair<std::string, std::ofstream>> files_;
};

// Microseconds of every run of one part.
using Times = std::vector<double>;

double percentile(Times times, double share) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(times.size())));
    const auto at = times.begin() + static_cast<Times::difference_type>(std::max<std::size_t>(rank, 1) - 1);
    std::nth_element(times.begin(), at, times.end());
    return *at;
}

void print_times(const std::string& name, const Times& times) {
    std::cout << std::left << std::setw(20) << name << ' ' << std::right << std::setw(8) << times.size() << " runs"
              << std::fixed << std::setprecision(1) << "   p50" << std::setw(10) << percentile(times, 0.5)
              << " us   p90" << std::setw(10) << percentile(times, 0.9) << " us\n"
              << std::defaultfloat << std::setprecision(6);
}

template <typename T>
void print_values(const ov::Tensor& tensor) {
    const T* const data = tensor.data<const T>();
    for (std::size_t i = 0; i < std::min<std::size_t>(tensor.get_size(), 8); ++i) std::cout << ' ' << +data[i];
    std::cout << (tensor.get_size() > 8 ? " ...\n" : "\n");
}

void print_output(const std::string& name, const ov::Tensor& tensor) {
    const ov::element::Type type = tensor.get_element_type();
    std::cout << name << "  " << type << tensor.get_shape();
    if (type == ov::element::f64) return print_values<double>(tensor);
    if (type == ov::element::f32) return print_values<float>(tensor);
    if (type == ov::element::f16) return print_values<ov::float16>(tensor);
    if (type == ov::element::i64) return print_values<std::int64_t>(tensor);
    if (type == ov::element::i32) return print_values<std::int32_t>(tensor);
    if (type == ov::element::i16) return print_values<std::int16_t>(tensor);
    if (type == ov::element::i8) return print_values<std::int8_t>(tensor);
    if (type == ov::element::u8) return print_values<std::uint8_t>(tensor);
    if (type == ov::element::boolean) return print_values<bool>(tensor);
    std::cout << '\n';
}

// The loop of a robot, as fast as it goes: on the robot, a step follows when a sensor has delivered. Returns the
// milliseconds of computing in a second of the sensors' time.
double run(const Bundle& bundle, const std::vector<Part>& parts, const std::string& way, const Options& options,
           const Schedule& schedule, Sensors& sensors) {
    Model model(bundle, parts);
    std::optional<Recorder> recorder;
    if (options.feed) recorder.emplace(bundle, *options.feed, way);
    std::vector<Times> times(parts.size());
    double total_us = 0;
    sensors.rewind();
    sensors.start(model);
    for (std::size_t tick = 0; tick < options.step_count(); ++tick) {
        const Model::Streams delivered = schedule.delivered(tick);
        sensors.deliver(delivered, model);
        for (const auto& [part, took] : model.step(delivered)) {
            times[part].push_back(std::chrono::duration<double, std::micro>(took).count());
            total_us += times[part].back();
        }
        if (recorder) recorder->record(model);
    }
    for (std::size_t part = 0; part < parts.size(); ++part) print_times(parts[part].name, times[part]);
    for (const std::string& name : bundle.outputs) print_output(name, model.tensor(name));
    return total_us / 1000 / static_cast<double>(options.step_count()) * schedule.fastest_hz();
}

void fusion(const Options& options) {
    const Bundle bundle = edgefuse::read_bundle(options.bundle);
    if (!bundle.hashed) std::cerr << "note: SHA-256 was not checked: this program was built without OpenSSL\n";
    std::cout << bundle.name << ": openvino " << edgefuse::openvino_version() << ", " << options.step_count()
              << " steps\n";
    const Schedule schedule(bundle);
    schedule.print();
    Sensors sensors(bundle, options.feed);
    const double whole_ms = run(bundle, {bundle.whole}, "whole", options, schedule, sensors);
    if (bundle.parts.empty()) {
        std::cout << "The bundle has no parts: the model was not worth splitting.\n";
        return;
    }
    const double parts_ms = run(bundle, bundle.parts, "parts", options, schedule, sensors);
    if (schedule.fastest_hz() > 0)
        std::cout << "computing   whole " << whole_ms << " ms a second, parts " << parts_ms << " ms a second\n";
}

int fail(const std::string& what, int code) {
    std::cerr << "error: " << what << '\n';
    return code;
}

}  // namespace

int main(int count, char** words) {
    try {
        fusion(parse_arguments({words + 1, words + count}));
        return 0;
    } catch (const Error& error) {
        return fail(error.what(), error.code);
    } catch (const ov::Exception& error) {
        return fail(std::string("OpenVINO failed: ") + error.what(), edgefuse::kMismatch);
    } catch (const std::exception& error) {
        return fail(std::string("a defect of this program: ") + error.what(), edgefuse::kDefect);
    }
}
