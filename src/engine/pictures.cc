#include "engine/pictures.h"

#include "base/error.h"
#include "image/pixels.h"

namespace velatura::engine {

Image to_image(const Tensor& picture) {
  VELATURA_CHECK(picture.rank() == 3 && picture.size(0) == 3);
  return image::from_unit_planes(picture.floats(), static_cast<int>(picture.size(2)),
                                 static_cast<int>(picture.size(1)));
}

Tensor to_signed_tensor(const Image& image) {
  Tensor picture = Tensor::allocate({1, 3, image.height, image.width}, DType::f32);
  image::to_signed_planes(image, picture.mutable_floats());
  return picture;
}

}  // namespace velatura::engine
