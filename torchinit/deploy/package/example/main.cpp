// Initializes weights in C++, with the bits that torchinit draws in Python from the same seed.
#include <torchinit/init.h>

#include <ATen/CPUGeneratorImpl.h>
#include <iostream>

int main() {
  const torchinit::Init init(TORCHINIT_BUNDLE);
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(2026);

  const auto weight = torch::empty({4, 3}, torch::requires_grad());
  init.kaiming_normal_(weight, 0.0, "fan_out", "relu", generator);
  std::cout << "kaiming_normal_\n" << weight << "\n";

  const auto head = torch::empty({2, 4});
  init.trunc_normal_(head, 0.0, 0.02, -2.0, 2.0, generator);
  std::cout << "trunc_normal_\n" << head << "\n";

  try {
    init.kaiming_normal_(weight, 0.0, "fan_avg");
  } catch (const c10::ValueError& error) {
    std::cout << error.what() << "\n";
  }
}
