#include "diffusion/samplers/strided.h"

#include "diffusion/prediction.h"

namespace velatura::diffusion::samplers {

double arrival_of(const Course& course, int step) {
  if (course.stride == 0) return course.sigma(step + 1);
  const double timestep = course.timestep(step) - course.stride;
  return timestep >= 0 ? course.noise->sigma_at(timestep) : course.sigmas.back();
}

double departure_to(const Course& course, int step) {
  if (course.stride == 0) return course.sigma(step - 1);
  return course.noise->sigma_at(course.timestep(step) + course.stride);
}

Tensor relabelled(const Tensor& x, double from, double to) {
  return from == to ? x : combine({{input_scale(from) / input_scale(to), x}});
}

}  // namespace velatura::diffusion::samplers
