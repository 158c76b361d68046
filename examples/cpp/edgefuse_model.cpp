#include "edgefuse_model.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <cstring>
#include <openvino/core/version.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>
#include <optional>

namespace edgefuse {
namespace {

std::string machine_arch() {
    utsname found{};
    uname(&found);
    return found.machine;
}

void check_machine(const Bundle& bundle) {
    const std::string version = openvino_version(), arch = machine_arch();
    if (bundle.version != version)
        throw Error(kMismatch,
                    "was made for openvino version " + bundle.version + "; this program runs with " + version,
                    bundle.folder.string(),
                    "Build this program with openvino " + bundle.version +
                        ", or compile the bundle again on this machine: edgefuse compile BUNDLE");
    if (bundle.arch != arch)
        throw Error(kMismatch, "was made for architecture " + bundle.arch + "; this machine has " + arch,
                    bundle.folder.string(), "Compile it again on this machine: edgefuse compile BUNDLE");
}

void check_precision(ov::Core& core, const Part& part) {
    const auto found = core.get_property("CPU", ov::device::capabilities);
    if (part.settings.inference_precision == "bf16" && std::find(found.begin(), found.end(), "BF16") == found.end())
        throw Error(kMismatch, "the plan runs in bf16, which this CPU does not have", part.artifact.string(),
                    "Compile the model on this machine: edgefuse compile MODEL --target host");
}

// As edgefuse/backends/openvino.py does it. The precision is always set: a CPU with BF16 uses it for float graphs
// otherwise.
ov::InferRequest open(ov::Core& core, const Part& part) {
    check_precision(core, part);
    ov::AnyMap config{
        ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
        ov::inference_num_threads(part.settings.threads),
        ov::hint::inference_precision(ov::element::Type(part.settings.inference_precision)),
    };
    if (!part.settings.pinned) config.insert(ov::hint::enable_cpu_pinning(false));
    return core.compile_model(core.read_model(part.artifact / "model.xml"), "CPU", config).create_infer_request();
}

// The port called `name`; none where OpenVINO has dropped an input that nobody reads.
template <typename Ports>
std::optional<ov::Output<const ov::Node>> find_port(const Ports& ports, const std::string& name) {
    for (const ov::Output<const ov::Node>& port : ports)
        if (port.get_names().count(name)) return port;
    return std::nullopt;
}

const TensorSpec* find_input(const Bundle& bundle, const std::string& name) {
    const auto found = std::find_if(bundle.inputs.begin(), bundle.inputs.end(),
                                    [&](const TensorSpec& input) { return input.name == name; });
    return found == bundle.inputs.end() ? nullptr : &*found;
}

Error misfit(const Part& part, const std::string& what) {
    return Error(kBadInput, what, part.artifact.string(), "Compile the bundle again.");
}

}  // namespace

std::string openvino_version() {
    const std::string build = ov::get_openvino_version().buildNumber;  // "2026.4.1-22982-…"
    return build.substr(0, build.find('-'));
}

Model::Model(const Bundle& bundle, const std::vector<Part>& parts) {
    check_machine(bundle);
    try {
        ov::Core core;
        for (const Part& part : parts) add(open(core, part), part, bundle);
    } catch (const ov::Exception& error) {
        throw Error(kMismatch, "OpenVINO " + openvino_version() + " refused it: " + error.what(),
                    bundle.folder.string());
    }
    for (const TensorSpec& input : bundle.inputs)  // nobody reads it, but the application may write it
        tensors_.try_emplace(input.name, ov::element::u8, ov::Shape{input.bytes});
    bind_state(bundle);
}

void Model::add(ov::InferRequest request, const Part& part, const Bundle& bundle) {
    Runner runner{request, {part.streams.begin(), part.streams.end()}};
    for (const std::string& name : part.inputs) bind_input(runner, name, part, bundle);
    for (const std::string& name : part.outputs) {
        const auto port = find_port(request.get_compiled_model().outputs(), name);
        if (!port || port->get_partial_shape().is_dynamic())
            throw misfit(part, "the graph has no output '" + name + "' of a fixed shape");
        tensors_[name] = request.get_tensor(*port);
        makers_[name] = runners_.size();
    }
    runners_.push_back(std::move(runner));
}

// No tensor is copied between parts: whoever reads one gets the very buffer that its maker's request writes to (the
// first reader's own, for an input of the model). A buffer belongs to that one request, and keeps its content until
// that request runs again; a reader does not write to it.
void Model::bind_input(Runner& runner, const std::string& name, const Part& part, const Bundle& bundle) {
    const TensorSpec* spec = find_input(bundle, name);
    const auto maker = makers_.find(name);
    if (!spec && maker == makers_.end()) throw misfit(part, "no part that runs earlier makes '" + name + "'");
    if (maker != makers_.end()) {
        const Runner& before = runners_[maker->second];
        runner.streams.insert(before.streams.begin(), before.streams.end());
        runner.always |= before.always;
    }
    for (const auto& [input, output] : bundle.state) runner.always |= input == name;
    const auto port = find_port(runner.request.get_compiled_model().inputs(), name);
    const auto known = tensors_.find(name);
    if (!port) return;
    if (known != tensors_.end()) return runner.request.set_tensor(*port, known->second);
    ov::Tensor own = runner.request.get_tensor(*port);
    if (own.get_byte_size() != spec->bytes)
        throw misfit(part, "'" + name + "' is not the " + spec->text() + " that the manifest says");
    std::memset(own.data(), 0, own.get_byte_size());
    tensors_[name] = own;
}

void Model::bind_state(const Bundle& bundle) {
    for (const auto& [input, output] : bundle.state) {
        state_.emplace_back(tensor(output), tensor(input));
        if (state_.back().first.get_byte_size() != state_.back().second.get_byte_size())
            throw Error(kBadInput, "the state '" + input + "' has another size than '" + output + "', which feeds it",
                        bundle.folder.string(), "Compile the bundle again.");
    }
}

ov::Tensor Model::tensor(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw Error(kBadInput, "the model has no tensor '" + name + "'");
    return found->second;
}

const std::vector<Model::Ran>& Model::step(const Streams& delivered) {
    using Clock = std::chrono::steady_clock;
    ran_.clear();
    for (std::size_t index = 0; index < runners_.size(); ++index) {
        Runner& runner = runners_[index];
        const bool due = std::any_of(delivered.begin(), delivered.end(),
                                     [&](const std::string& stream) { return runner.streams.count(stream) > 0; });
        if (started_ && !due && !runner.always) continue;
        const auto start = Clock::now();
        runner.request.infer();
        ran_.push_back({index, Clock::now() - start});
    }
    started_ = true;
    for (auto& [output, input] : state_) std::memcpy(input.data(), output.data(), output.get_byte_size());
    return ran_;
}

}  // namespace edgefuse
