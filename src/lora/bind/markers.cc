#include "lora/bind/markers.h"

#include <array>

namespace velatura::lora {

std::span<const Marker> kind_markers() {
  static constexpr auto kKinds = std::to_array<Marker>({
      {"mlp_context_fc1", "Nunchaku (a packed SVDQuant file)"},
      {"qkv_proj_context", "Nunchaku (a packed SVDQuant file)"},
      {"_wscales", "Nunchaku (a packed SVDQuant file)"},
      {"lora_controlnet", "ControlNet-LoRA"},
      {"lllite_", "ControlNet-LLLite"},
      {"controlnet_", "ControlNet"},
      {"control_model_", "ControlNet"},
      {"input_hint_block", "ControlNet"},
      {"zero_convs_#", "ControlNet"},
      {"ip_adapter_double_stream", "IP-Adapter for FLUX.1"},
      {"ip_adapter", "IP-Adapter"},
      {"image_proj_", "IP-Adapter"},
      {"_q_loras_#", "EasyControl (adapters for the pictures shown to it)"},
      {"_k_loras_#", "EasyControl (adapters for the pictures shown to it)"},
      {"_v_loras_#", "EasyControl (adapters for the pictures shown to it)"},
      {"_proj_loras_#", "EasyControl (adapters for the pictures shown to it)"},
      {"motion_modules_#", "AnimateDiff (a motion module or its LoRA)"},
      {"pulid_ca_", "PuLID"},
      {"pulid_encoder_", "PuLID"},
      {"control_layers_#", "Z-Image ControlNet"},
      {"control_all_x_embedder", "Z-Image ControlNet"},
      {"control_noise_refiner_#", "Z-Image ControlNet"},
      {"lora_time_gamma", "DiffSynth's timestep-conditioned LoRA"},
      {"lora_time_beta", "DiffSynth's timestep-conditioned LoRA"},
      {"pvera_lambda", "PVeRA"},
      {"vera_lambda", "VeRA"},
      {"fourierft_", "FourierFT"},
      {"unilora_", "UniLoRA"},
      {"vblora_", "VB-LoRA"},
      {"hra_u", "HRA"},
      {"bone_block", "BONE"},
      {"miss_block", "MiSS"},
      {"randlora_", "RandLoRA"},
      {"loretta", "LoRETTA"},
      {"layer_tensor_factors_#", "LoRETTA"},
      {"_tt_cores_#", "LoRETTA"},
      {"shira_weight", "SHiRA"},
      {"c3a_kernel", "C3A"},
      {"waveft_", "WaveFT"},
      {"road_theta", "RoAd"},
      {"road_alpha", "RoAd"},
      {"poly_lora", "Poly"},
      {"poly_router", "Poly"},
      {"_boft_R", "BOFT of PEFT"},
      {"_boft_s", "BOFT of PEFT"},
      {"_gralora_", "GraLoRA"},
      {"_hira_A", "HiRA"},
      {"_hira_B", "HiRA"},
      {"_delora_", "DeLoRA"},
      {"_deft_P", "DEFT"},
      {"_deft_R", "DEFT"},
      {"_adamss_", "AdaMSS"},
      {"beft_bias", "BEFT"},
      {"frod_lambda", "FRoD"},
      {"_lily_A", "Lily"},
      {"_lily_B", "Lily"},
      {"_lily_router", "Lily"},
      {"osf_svd_params", "OSF"},
      {"_peanut_", "PEANuT"},
      {"_psoft_", "PSOFT"},
      {"_shadow_down", "Shadow"},
      {"_supertuning_", "SuperTuning"},
      {"tinylora_v", "TinyLoRA"},
      {"internal_xlora_classifier", "X-LoRA"},
      {"_lora_E", "AdaLoRA"},
      {"input_blocks00", "checkpoint (its averaged weights, EMA)"},
  });
  return kKinds;
}

std::span<const Marker> network_markers() {
  static constexpr auto kNetworks = std::to_array<Marker>({
      {"emb_params", "textual inversion"},
      {"string_to_param", "textual inversion"},
      {"string_to_token", "textual inversion"},
      {"bn_running_mean", "FLUX.2 VAE"},
      {"visual_blocks_#", "Qwen2.5-VL text encoder"},
      {"RRDB_trunk", "picture upscaler (ESRGAN)"},
      {"_rdb#_conv", "picture upscaler (ESRGAN)"},
      {"_rdb1_conv", "picture upscaler (ESRGAN)"},
  });
  return kNetworks;
}

std::span<const Marker> family_markers() {
  static constexpr auto kFamilies = std::to_array<Marker>({
      // Before the others' blocks: it has blocks of its own.
      {"individual_token_refiner", "HunyuanVideo"},
      {"token_refiner", "HunyuanVideo"},
      {"llm_adapter", "Anima"},
      {"adaln_modulation_cross_attn", "Anima"},
      {"blocks_#_cross_attn_q_proj", "Anima"},
      {"blocks_#_cross_attn_k_proj", "Anima"},
      {"blocks_#_cross_attn_v_proj", "Anima"},
      {"blocks_#_cross_attn_output_proj", "Anima"},
      {"blocks_#_self_attn_q_proj", "Anima"},
      {"blocks_#_self_attn_k_proj", "Anima"},
      {"blocks_#_self_attn_v_proj", "Anima"},
      {"blocks_#_self_attn_output_proj", "Anima"},
      {"blocks_#_cross_attn_", "Wan"},
      {"blocks_#_self_attn_", "Wan"},
      {"txtfusion_", "Krea 2"},
      {"blocks_#_attn_wq", "Krea 2"},
      {"blocks_#_attn_wk", "Krea 2"},
      {"blocks_#_attn_wv", "Krea 2"},
      {"blocks_#_attn_wo", "Krea 2"},
      {"blocks_#_attn_gate", "Krea 2"},
      {"double_stream_modulation", "FLUX.2"},
      {"single_stream_modulation", "FLUX.2"},
      {"to_qkv_mlp_proj", "FLUX.2"},
      {"ff_linear_in", "FLUX.2"},
      {"img_mlp_net", "Qwen-Image"},
      {"txt_mlp_net", "Qwen-Image"},
      {"_img_mod_#", "Qwen-Image"},
      {"_txt_mod_#", "Qwen-Image"},
      {"x_block_attn_ln_q", "SD3.5"},
      {"joint_blocks_#", "SD3 or SD3.5"},
      {"joint_transformer_blocks", "AuraFlow"},
      {"pos_embed_proj", "SD3 or SD3.5"},
      {"distilled_guidance_layer", "Chroma"},
      {"double_stream_blocks", "HiDream"},
      {"single_stream_blocks", "HiDream"},
      {"adaln_single", "PixArt"},
  });
  return kFamilies;
}

std::span<const std::string_view> flux_parts() {
  static constexpr auto kParts = std::to_array<std::string_view>(
      {"double_blocks_#", "single_blocks_#", "_attn_a_to_", "_attn_b_to_",
       "single_transformer_blocks_#", "transformer_blocks_#", "time_text_embed_",
       "context_embedder", "vector_in_", "guidance_in_", "txt_in", "img_in", "norm_out_linear"});
  return kParts;
}

std::span<const std::string_view> z_image_parts() {
  static constexpr auto kParts = std::to_array<std::string_view>(
      {"noise_refiner_#", "context_refiner_#", "cap_embedder", "all_final_layer", "all_x_embedder",
       "layers_#_attention_", "layers_#_feed_forward_", "layers_#_adaLN_modulation", "t_embedder",
       "layers_#_attn_to_", "layers_#_attn_qkv", "layers_#_attn1_to_", "layers_#_ff_net_",
       // Its text encoder has such layers, too, behind other beginnings.
       "diffusion_model_layers_#_self_attn_", "diffusion_model_layers_#_mlp_",
       "lora_unet_layers_#_self_attn_", "lora_unet_layers_#_mlp_"});
  return kParts;
}

std::span<const std::string_view> unet_parts() {
  static constexpr auto kParts = std::to_array<std::string_view>(
      {"input_blocks_", "middle_block_", "output_blocks_", "down_blocks_", "mid_block_",
       "mid_blocks_", "up_blocks_", "time_embed_", "time_embedding_", "label_emb_",
       "add_embedding_", "unet_conv_in", "unet_conv_out", "unet_conv_norm_out"});
  return kParts;
}

}  // namespace velatura::lora
