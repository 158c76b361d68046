#include "edgefuse_bundle.hpp"

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#ifdef EDGEFUSE_SHA256
#include <openssl/evp.h>
#endif

namespace edgefuse {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::map<std::string, std::size_t> kItemBytes{{"float64", 8}, {"int64", 8},   {"float32", 4},
                                                    {"int32", 4},   {"float16", 2}, {"int16", 2},
                                                    {"int8", 1},    {"uint8", 1},   {"bool", 1}};
const char* const kAgain = "Copy or compile the bundle again.";

#ifdef EDGEFUSE_SHA256
class Sha256 {
  public:
    Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
        EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
    }

    void add(const char* data, std::size_t size) { EVP_DigestUpdate(context_.get(), data, size); }

    std::string hex() {
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned int size = 0;
        EVP_DigestFinal_ex(context_.get(), digest, &size);
        std::string found;
        for (unsigned int i = 0; i < size; ++i) {
            found += "0123456789abcdef"[digest[i] >> 4];
            found += "0123456789abcdef"[digest[i] & 15];
        }
        return found;
    }

  private:
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::string sha256(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    std::vector<char> chunk(1 << 20);
    Sha256 digest;
    while (stream.read(chunk.data(), static_cast<std::streamsize>(chunk.size())), stream.gcount() > 0)
        digest.add(chunk.data(), static_cast<std::size_t>(stream.gcount()));
    return digest.hex();
}

// The manifest's text with the digits of every "checksum" replaced by zeros: what its own checksum was taken of.
std::string without_checksum(std::string text) {
    const std::string key = "\"checksum\": \"";
    for (auto at = text.find(key); at != std::string::npos; at = text.find(key, at)) {
        at += key.size();
        if (text.find_first_not_of("0123456789abcdef", at) == at + 64 && text[at + 64] == '"')
            text.replace(at, 64, 64, '0');
    }
    return text;
}

void check_checksum(const std::string& text, const std::string& stored, const std::string& where) {
    const std::string zeroed = without_checksum(text);
    Sha256 digest;
    digest.add(zeroed.data(), zeroed.size());
    if (digest.hex() != stored) throw Error(kBadInput, "the manifest was changed after it was written", where, kAgain);
}
#endif

Json parse(const std::string& text, const std::string& where) {
    try {
        return Json::parse(text);
    } catch (const Json::exception&) {
        throw Error(kBadInput, "the manifest is damaged", where, kAgain);
    }
}

Json read_manifest(const fs::path& folder) {
    const std::string where = folder.string();
    if (!fs::exists(folder)) throw Error(kBadInput, "there is no such bundle", where);
    if (!fs::is_directory(folder))
        throw Error(kBadInput, "is not a folder", where, "Unpack a zipped bundle first: unzip BUNDLE -d FOLDER");
    std::ifstream stream(folder / "manifest.json", std::ios::binary);
    if (!stream || !fs::is_regular_file(folder / "manifest.json"))
        throw Error(kBadInput, "has no manifest.json, so it is not a bundle", where,
                    "Make one with: edgefuse compile MODEL --target host");
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    Json manifest = parse(text, where);
    const Json& format = manifest.at("format");
    if (format != 3)
        throw Error(kBadInput, "has format " + format.dump() + "; this program reads 3", where,
                    "Compile the model again, or take the program of the EdgeFuse version that wrote it.");
#ifdef EDGEFUSE_SHA256
    check_checksum(text, manifest.at("checksum"), where);
#endif
    return manifest;
}

Error damaged(const std::string& what, const fs::path& folder) {
    return Error(kBadInput, "the manifest is damaged: " + what, folder.string(), kAgain);
}

// A shape's places are integers, or "1..8" for a range.
std::vector<std::size_t> read_shape(const Json& tensor, const std::string& where) {
    std::vector<std::size_t> shape;
    for (const Json& dim : tensor.at("shape")) {
        if (dim.is_string())
            throw Error(kBadInput,
                        "'" + tensor.at("name").get<std::string>() + "' has a dynamic shape (" +
                            dim.get<std::string>() + "), and this program runs fixed shapes only",
                        where, "Give the recipe's input fixed sizes, and compile the model again.");
        if (!dim.is_number_unsigned() || dim == 0) throw damaged("a shape holds " + dim.dump(), where);
        shape.push_back(dim);
    }
    return shape;
}

TensorSpec read_tensor(const Json& tensor, const std::string& where) {
    TensorSpec found;
    found.name = tensor.at("name");
    found.shape = read_shape(tensor, where);
    found.dtype = tensor.at("dtype");
    const auto size = kItemBytes.find(found.dtype);
    if (size == kItemBytes.end()) throw damaged("the dtype '" + found.dtype + "' is unknown", where);
    found.bytes = std::accumulate(found.shape.begin(), found.shape.end(), size->second, std::multiplies<>());
    found.stream = tensor.value("stream", "");
    if (found.stream.empty()) found.stream = found.name;
    const auto rate = tensor.find("rate_hz");
    if (rate != tensor.end() && rate->is_number()) found.rate_hz = *rate;
    return found;
}

Settings read_settings(const Json& settings) {
    return {settings.at("threads"), settings.at("inference_precision"), settings.at("pinned")};
}

bool starts_with(const fs::path& path, const fs::path& base) {
    return std::mismatch(base.begin(), base.end(), path.begin(), path.end()).first == base.end();
}

// A path in the bundle that neither ".." nor a link leads out of.
fs::path inside(const fs::path& folder, const std::string& name) {
    const fs::path path = folder / name;
    if (fs::path(name).is_absolute() || fs::is_symlink(path) ||
        !starts_with(fs::weakly_canonical(path), fs::canonical(folder)))
        throw Error(kBadInput, "'" + name + "' points outside the bundle", folder.string());
    return path;
}

void check_file(const fs::path& folder, const std::string& name, const Json& listed) {
    const fs::path path = inside(folder, name);
    if (!fs::is_regular_file(path)) throw Error(kBadInput, "'" + name + "' is missing", folder.string(), kAgain);
    const auto size = fs::file_size(path);
    if (size != listed.at("size_bytes").get<std::uintmax_t>())
        throw Error(kBadInput,
                    "'" + name + "' has " + std::to_string(size) + " bytes; the manifest says " +
                        listed.at("size_bytes").dump(),
                    folder.string(), kAgain);
#ifdef EDGEFUSE_SHA256
    if (sha256(path) != listed.at("sha256").get<std::string>())
        throw Error(kBadInput, "'" + name + "' was changed after it was written (SHA-256 differs)", folder.string(),
                    kAgain);
#endif
}

// The artifact's folder, after the files that OpenVINO will read have been checked. A missing model.bin is noticed,
// because the manifest must name it.
fs::path check_artifact(const fs::path& folder, const std::string& path, const Json& files) {
    for (const char* file : {"model.xml", "model.bin"})
        check_file(folder, path + "/" + file, files.at(path + "/" + file));
    return inside(folder, path);
}

Part read_part(const Json& part, const Json& artifact, const fs::path& folder, const Json& files) {
    if (part.at("name") != artifact.at("name")) throw damaged("artifact.parts are not the partition's", folder);
    return {part.at("name"),
            part.at("streams"),
            part.at("inputs"),
            part.at("outputs"),
            check_artifact(folder, artifact.at("path"), files),
            read_settings(artifact.at("settings"))};
}

// The whole model as a part of every stream.
Part read_whole(const Bundle& bundle, const Json& artifact, const Json& files) {
    Part whole{"whole",
               {},
               {},
               bundle.outputs,
               check_artifact(bundle.folder, artifact.at("path"), files),
               read_settings(artifact.at("settings"))};
    for (const TensorSpec& input : bundle.inputs) {
        whole.streams.push_back(input.stream);
        whole.inputs.push_back(input.name);
    }
    return whole;
}

void check_backend(const Json& manifest, const std::string& where) {
    const Json& artifact = manifest.at("artifact");
    if (artifact.is_null())
        throw Error(kMismatch, "is portable: it has not been compiled on its device yet", where,
                    "Compile it here: edgefuse compile BUNDLE");
    const std::string backend = artifact.at("backend");
    if (backend != "openvino")
        throw Error(kMismatch, "was made for the backend " + backend + "; this program runs openvino's", where,
                    "Compile the model for a CPU that OpenVINO runs on.");
}

void read_parts(Bundle& bundle, const Json& manifest) {
    const Json &partition = manifest.at("partition"), &made = manifest.at("artifact").at("parts");
    bundle.state = partition.at("state").get<decltype(bundle.state)>();
    if (made.empty()) return;
    const Json& parts = partition.at("parts");
    if (made.size() != parts.size()) throw damaged("artifact.parts are not the partition's", bundle.folder);
    for (const Json& tensor : partition.at("tensors")) read_tensor(tensor, bundle.folder.string());  // none is dynamic
    for (std::size_t i = 0; i < parts.size(); ++i)
        bundle.parts.push_back(read_part(parts[i], made[i], bundle.folder, manifest.at("files")));
}

Bundle read(const fs::path& folder, const Json& manifest) {
    check_backend(manifest, folder.string());
    const Json &model = manifest.at("model"), &artifact = manifest.at("artifact");
    Bundle bundle;
    bundle.folder = folder;
    bundle.name = manifest.at("name");
    bundle.version = artifact.at("version");
    bundle.arch = artifact.at("arch");
    bundle.outputs = model.at("outputs").get<std::vector<std::string>>();
    for (const Json& tensor : model.at("inputs")) bundle.inputs.push_back(read_tensor(tensor, folder.string()));
    bundle.whole = read_whole(bundle, artifact, manifest.at("files"));
    read_parts(bundle, manifest);
#ifdef EDGEFUSE_SHA256
    bundle.hashed = true;
#endif
    return bundle;
}

}  // namespace

std::string TensorSpec::text() const {
    std::string found;
    for (const std::size_t dim : shape) found += (found.empty() ? "" : "x") + std::to_string(dim);
    return (found.empty() ? "scalar" : found) + " " + dtype;
}

Bundle read_bundle(const fs::path& folder) {
    try {
        return read(folder, read_manifest(folder));
    } catch (const Json::exception& error) {
        throw damaged(error.what(), folder);
    } catch (const fs::filesystem_error& error) {
        throw Error(kBadInput, error.code().message(), error.path1().string(), kAgain);
    }
}

}  // namespace edgefuse
