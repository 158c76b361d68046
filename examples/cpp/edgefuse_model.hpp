// Runs a bundle's graph with OpenVINO: whole, or part by part with held features.
//
//     edgefuse::Model model(bundle, bundle.parts);  // or {bundle.whole}
//     std::memcpy(model.tensor("image").data(), frame, bytes);
//     model.step({"camera"});  // the camera's branch and the trunk; what the other branches made is kept
//     const float* velocity = model.tensor("velocity").data<const float>();
#pragma once

#include <chrono>
#include <map>
#include <openvino/runtime/infer_request.hpp>
#include <openvino/runtime/tensor.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "edgefuse_bundle.hpp"

namespace edgefuse {

// The release of the OpenVINO library that this program runs with, such as "2026.4.1".
std::string openvino_version();

// Not to be used from two threads at once.
class Model {
  public:
    using Streams = std::set<std::string>;
    struct Ran {
        std::size_t part;
        std::chrono::nanoseconds took;
    };

    // Throws Error(kMismatch) where the bundle was made for another OpenVINO or another machine.
    Model(const Bundle& bundle, const std::vector<Part>& parts);

    // The model's own buffer of an input (write the sensor's sample into it), of an output, or of what crosses between
    // two parts. It stays where it is for the life of the model. Inputs are zero at first.
    ov::Tensor tensor(const std::string& name) const;

    // Runs what depends on the streams that have delivered since the last step, and on the model's state; at the very
    // first step, everything. Returns what ran, valid until the next step.
    const std::vector<Ran>& step(const Streams& delivered);

  private:
    struct Runner {
        ov::InferRequest request;
        Streams streams;      // of the part, and of all parts before it whose tensors it reads
        bool always = false;  // it depends on the state, which is new at every step
    };

    void add(ov::InferRequest request, const Part& part, const Bundle& bundle);
    void bind_input(Runner& runner, const std::string& name, const Part& part, const Bundle& bundle);
    void bind_state(const Bundle& bundle);

    std::vector<Runner> runners_;
    std::map<std::string, ov::Tensor> tensors_;
    std::map<std::string, std::size_t> makers_;             // the part that makes a tensor
    std::vector<std::pair<ov::Tensor, ov::Tensor>> state_;  // the output, and the input that it feeds
    std::vector<Ran> ran_;
    bool started_ = false;
};

}  // namespace edgefuse
