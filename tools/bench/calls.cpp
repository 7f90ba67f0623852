// What a call costs from C++, in microseconds: torch::nn::init, Init, a method of the archive as libtorch calls it, and
// MobileInit, side by side on a 4x4 tensor. Prints the milliseconds that Init and MobileInit take to load, then one row
// a line: name and the four medians.
#include <torchinit/init.h>

#include <ATen/Parallel.h>
#include <torch/nn/init.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>

namespace {

double microseconds(const std::function<void()>& call) {
  constexpr int kCalls = 5000;
  constexpr int kRounds = 21;
  std::vector<double> rounds;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) {
      call();
    }
    const std::chrono::duration<double, std::micro> passed = std::chrono::steady_clock::now() - start;
    rounds.push_back(passed.count() / kCalls);
  }
  std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
  return rounds[kRounds / 2];
}

}  // namespace

int main() {
  at::set_num_threads(1);
  const auto start = std::chrono::steady_clock::now();
  const torchinit::Init init(TORCHINIT_BUNDLE);
  const auto between = std::chrono::steady_clock::now();
  const torchinit::MobileInit mobile(TORCHINIT_MOBILE_BUNDLE);
  const auto end = std::chrono::steady_clock::now();
  using Milliseconds = std::chrono::duration<double, std::milli>;
  std::printf("%f %f\n", Milliseconds(between - start).count(), Milliseconds(end - between).count());
  const auto archive = torch::jit::load(TORCHINIT_BUNDLE);
  const auto weight = torch::zeros({4, 4});
  namespace native = torch::nn::init;
  const auto row = [&](const char* name, std::vector<c10::IValue> arguments, const std::function<void()>& upstream,
                       const std::function<void()>& ours, const std::function<void()>& on_mobile) {
    const auto method = archive.get_method(name);
    const double generic = microseconds([&] { method(arguments); });
    std::printf("%s %f %f %f %f\n", name, microseconds(upstream), microseconds(ours), generic, microseconds(on_mobile));
  };
  row("zeros_", {weight}, [&] { native::zeros_(weight); }, [&] { init.zeros_(weight); },
      [&] { mobile.zeros_(weight); });
  row("uniform_", {weight}, [&] { native::uniform_(weight); }, [&] { init.uniform_(weight); },
      [&] { mobile.uniform_(weight); });
  row("xavier_normal_", {weight}, [&] { native::xavier_normal_(weight); }, [&] { init.xavier_normal_(weight); },
      [&] { mobile.xavier_normal_(weight); });
  row("kaiming_uniform_", {weight}, [&] { native::kaiming_uniform_(weight); }, [&] { init.kaiming_uniform_(weight); },
      [&] { mobile.kaiming_uniform_(weight); });
  row("eye_", {weight}, [&] { native::eye_(weight); }, [&] { init.eye_(weight); }, [&] { mobile.eye_(weight); });
  row("orthogonal_", {weight}, [&] { native::orthogonal_(weight); }, [&] { init.orthogonal_(weight); },
      [&] { mobile.orthogonal_(weight); });
  row("sparse_", {weight, 0.5}, [&] { native::sparse_(weight, 0.5); }, [&] { init.sparse_(weight, 0.5); },
      [&] { mobile.sparse_(weight, 0.5); });
}
