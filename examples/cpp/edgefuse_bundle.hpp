// Reads an EdgeFuse bundle (docs/bundle.md) that lies unpacked in a folder, and refuses a damaged one.
// Knows nothing of OpenVINO: edgefuse_model.hpp runs what is read here.
#pragma once

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace edgefuse {

// The exit codes of the edgefuse command.
enum ExitCode { kUsage = 2, kBadInput = 4, kMismatch = 5, kDefect = 70 };

// Meant for a person: what is wrong, where, and what to do.
class Error : public std::runtime_error {
  public:
    Error(ExitCode code, const std::string& what, const std::string& where = "", const std::string& hint = "")
        : std::runtime_error((where.empty() ? "" : where + ": ") + what + (hint.empty() ? "" : "\n  " + hint)),
          code(code) {}

    const ExitCode code;
};

// An input of the model, or what crosses between two parts. All shapes are fixed.
struct TensorSpec {
    std::string name;
    std::vector<std::size_t> shape;
    std::string dtype;
    std::size_t bytes = 0;  // of one sample
    std::string stream;     // the sensor that delivers it
    double rate_hz = 0;     // 0: not declared

    std::string text() const;  // "1x3x96x96 float32"
};

struct Settings {
    int threads = 1;
    std::string inference_precision;  // "f32" or "bf16"
    bool pinned = true;               // each thread tied to a core
};

// A piece of the model that runs as a whole: one sensor's branch, the trunk, or the whole model.
struct Part {
    std::string name;
    std::vector<std::string> streams;  // whose data it depends on
    std::vector<std::string> inputs, outputs;
    std::filesystem::path artifact;  // the folder of model.xml and model.bin
    Settings settings;
};

struct Bundle {
    std::filesystem::path folder;
    std::string name, version, arch;  // version: the OpenVINO release that the artifacts were made with
    std::vector<TensorSpec> inputs;
    std::vector<std::string> outputs;
    std::vector<std::pair<std::string, std::string>> state;  // input, and the output that feeds it at the next step
    Part whole;
    std::vector<Part> parts;  // in an order in which they can run; empty where the model was not worth splitting
    bool hashed = false;      // whether SHA-256 could be checked
};

// The checked bundle in `folder`; throws Error. README.md says what is checked.
Bundle read_bundle(const std::filesystem::path& folder);

}  // namespace edgefuse
