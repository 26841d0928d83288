"""What other tools call our settings: whoever writes such a name is shown what it is here. No name of another tool is read as ours.

The names are those of transformers, TRL, PEFT, axolotl and LLaMA-Factory, and of Flower, NVFlare, FATE and FederatedScope.
"""

from collections.abc import Iterator, Mapping

LOCAL, GENERATE = "protocol.local", "evaluation.generate"

# ours -> what others say; a name stands in one line
SETTINGS: Mapping[str, str] = {
    "backbone": "model_name_or_path base_model model_name model_id model pretrained_model_name_or_path base_model_name_or_path llm "
    "pretrained_model model_path base_model_config llm_name",
    "tuning": "peft peft_config lora lora_config adapter_config finetuning_type peft_method adapter_name",
    "tuning.kind": "peft_type tuner_type adapter_type",
    "tuning.rank": "r lora_r lora_rank rank_dimension lora_dim",
    "tuning.alpha": "lora_alpha lora_scaling",
    "tuning.dropout": "lora_dropout adapter_dropout",
    "tuning.targets": "target_modules lora_target_modules lora_target lora_target_linear target_parameters layers_to_transform",
    "tuning.length": "num_virtual_tokens prefix_length pre_seq_len prompt_length n_tokens",
    "tuning.hidden": "encoder_hidden_size prefix_projection prefix_hidden_size",
    "tuning.width": "bottleneck_dim bottleneck_size adapter_size adapter_dim reduction_factor",
    "tuning.initial": "adapter_name_or_path lora_model_dir lora_path peft_path",
    "tuning: {kind: peft, type: LORA, arguments: {use_dora: true}}": "use_dora dora",
    "tuning: {kind: peft, type: LORA, arguments: {use_rslora: true}}": "use_rslora rslora",
    "tuning: {kind: peft, type: LORA, arguments: {...}}": "init_lora_weights lora_bias rank_pattern alpha_pattern fan_in_fan_out",
    f"{LOCAL}.batch_size": "per_device_train_batch_size micro_batch_size train_batch_size per_gpu_train_batch_size batchsize "
    "client_batch_size local_batch_size local_bs mini_batch_size",
    "evaluation.batch_size": "per_device_eval_batch_size eval_batch_size test_batch_size per_gpu_eval_batch_size",
    f"{LOCAL}.accumulate": "gradient_accumulation_steps grad_accumulation_steps grad_accum accumulate_grad_batches "
    "gradient_accumulation accumulation_steps",
    f"{LOCAL}.checkpointing": "gradient_checkpointing activation_checkpointing use_gradient_checkpointing recompute",
    f"{LOCAL}.epochs": "num_train_epochs num_epochs n_epochs local_epochs max_epochs local_ep client_epochs epochs_per_round "
    "num_local_epochs aggregation_epochs",
    f"{LOCAL}.steps": "max_steps local_steps local_update_steps num_steps num_local_steps local_iterations steps_per_epoch",
    f"{LOCAL}.learning_rate": "lr learning_rate_init client_lr local_lr lr_init initial_lr",
    f"{LOCAL}.warmup_steps": "warmup_ratio num_warmup_steps lr_warmup_steps warmup warmup_proportion",
    f"{LOCAL}.schedule": "lr_scheduler_type lr_scheduler scheduler lr_schedule scheduler_type lr_decay",
    f"{LOCAL}.optimizer": "optim optimizer_type optimizer_name optim_type",
    f"{LOCAL}.clip_norm": "max_grad_norm gradient_clipping grad_clip gradient_clip_val grad_norm_clip max_norm",
    f"{LOCAL}.proximal": "mu proximal_mu prox_mu fedprox_mu fedprox proximal_term",
    f"{LOCAL}.keep_optimizer": "keep_optimizer_state persist_optimizer reset_optimizer",
    "protocol.aggregation": "strategy aggregator algorithm fl_algorithm fed_alg aggregate_method aggregation_method federated_algorithm",
    "protocol.aggregation.server_learning_rate": "server_lr eta global_lr server_side_lr",
    "stop.rounds": "num_rounds num_server_rounds total_round_num comm_round communication_rounds max_rounds n_rounds global_rounds "
    "global_epochs num_communication_rounds rounds_num round_num",
    "stop.patience": "early_stopping_patience early_stopping early_stop patience_rounds",
    "stop.keep": "load_best_model_at_end save_best_model key_metric",
    "clients.count": "num_clients client_num n_clients num_supernodes num_partitions number_of_clients min_available_clients "
    "num_sites client_count nclients",
    "clients.fraction": "fraction_fit fraction_train sample_client_rate participation_rate client_fraction sampling_rate client_rate",
    "clients.per_round": "min_fit_clients clients_per_round num_clients_per_round sample_client_num min_clients min_train_nodes "
    "client_num_per_round clients_sampled",
    "clients.partition": "partitioner splitter partition_method non_iid split_type data_partition",
    "clients.partition.alpha": "dirichlet_alpha partition_alpha concentration dir_alpha",
    "clients.test_share": "test_size test_split_ratio",
    "clients.validation_share": "val_size validation_split val_set_size validation_split_percentage val_ratio",
    "clients.failure_share": "dropout_rate client_dropout drop_rate failure_rate straggler_rate",
    "clients.hostile_share": "malicious_ratio byzantine_ratio byzantine_client_num attacker_ratio malicious_fraction",
    "data.train": "dataset_name dataset datasets train_file dataset_path data_path train_dataset train_data dataset_dir data_dir "
    "train_set documents",
    "data.validation": "validation_file eval_dataset val_file val_data eval_data_path eval_file test_datasets dev_file",
    "data.test": "test_file test_data test_dataset questions",
    "data.limit": "max_train_samples max_eval_samples max_samples max_predict_samples",
    "data.columns": "dataset_text_field text_column label_column prompt_column response_column column_mapping prompt_key label_key",
    "task.max_tokens": "max_seq_length max_seq_len cutoff_len sequence_len model_max_length max_source_length max_prompt_length "
    "max_sequence_length max_length seq_len",
    "task.block": "block_size context_length",
    "task.kind": "task_type task_name problem_type",
    "task.template": "prompt_template prompt_style formatting_func instruction_template data_template",
    "task.chat": "chat_template apply_chat_template",
    "task.labels": "label_names label_list id2label num_labels num_classes",
    "evaluation.every": "eval_steps eval_freq eval_every eval_strategy evaluation_strategy eval_interval evals_per_epoch",
    "evaluation.metrics": "compute_metrics metric_for_best_model",
    f"{GENERATE}.beams": "num_beams beam_size",
    f"{GENERATE}.max_new_tokens": "max_target_length generation_max_length max_completion_length max_gen_length",
    f"{GENERATE}.no_repeat_ngram": "no_repeat_ngram_size",
    "precision": "bf16 fp16 torch_dtype dtype tf32 mixed_precision compute_dtype bf16_full_eval fp16_full_eval",
    "precision: 4bit": "load_in_4bit load_in_8bit quantization quantization_config bnb_4bit_quant_type quantization_bit",
    "device": "no_cuda use_cpu use_cuda device_map gpu gpus cuda use_gpu num_gpus",
    "threads": "num_workers dataloader_num_workers num_threads n_jobs torch_num_threads num_cpus",
    "seed": "random_seed data_seed random_state np_seed torch_seed",
    "name": "run_name job_name exp_name experiment_name job_id",
    "protection: [{kind: dp, epsilon: 8}]": "target_epsilon target_delta dp_noise dp_clip_norm differential_privacy privacy_budget",
    "protection: [secure-aggregation]": "secure_aggregation secagg use_secagg",
}
# what has no setting of its own: what to do
INSTEAD: Mapping[str, str] = {
    "output_dir overwrite_output_dir save_dir outdir": "the run folder is given as --out FOLDER",
    "resume_from_checkpoint auto_resume_from_checkpoints restore_from": "a run is resumed by fedtailor run --resume RUN",
    "save_strategy save_steps save_total_limit saves_per_epoch save_freq checkpoint_every": "every round is saved, and the best or last is kept (stop.keep)",
    "logging_steps logging_dir logging_strategy wandb_project log_level": "every step and round is written to events.jsonl and rounds.parquet; report_to names trackers",
    "push_to_hub hub_model_id hub_token token use_auth_token": "nothing is sent to a hub; fedtailor export writes a folder that can be",
    "trust_remote_code": "code that comes with a model is never run; leave it out",
    "do_sample top_p sampling": "texts are written greedily or by beams, so that a run repeats; leave it out",
    "adam_beta1 adam_beta2 adam_epsilon": "adamw has torch's own moments; leave it out",
    "packing sample_packing group_by_length padding pad_to_max_length": "batches are formed by length by themselves; leave it out",
    "modules_to_save": "a classifier's head is trained with every tuning; leave it out",
    "deepspeed fsdp fsdp_config ddp_find_unused_parameters local_rank": "one process trains on one device; leave it out",
    "federate federated fl fed_config": "write protocol, clients and stop, each a section of its own",
    "training_args training_arguments training trainer train_config": "write protocol: {local: {epochs: 1, batch_size: 8}}",
}
# values of `kind` and of choices
KINDS: Mapping[str, str] = {
    "fedprox": "protocol.local.proximal",
    "qlora": "tuning: lora with precision: 4bit",
    "dora": "tuning: {kind: peft, type: LORA, arguments: {use_dora: true}}",
    "ia3 vera loha lokr oft boft adalora": "tuning: {kind: peft, type: NAME}",
    "prefix_tuning prefix-tuning": "tuning: prefix",
    "prompt_tuning prompt-tuning p_tuning p-tuning": "tuning: prompt",
    "sft full_finetuning full-finetuning fft none_peft": "tuning: full",
    "causal_lm causal-lm sft-generation text-generation seq_2_seq_lm seq2seq instruction": "task: generation",
    "clm pretraining lm": "task: language-modeling",
    "seq_cls text-classification sequence-classification": "task: classification",
    "fed_avg": "protocol.aggregation: fedavg",
    "splitfed splitnn sl": "protocol: split",
    "fedmd fedkd kd fd": "protocol: distillation",
    "pathological label-skew": "clients.partition: shards, or skew",
    "lda": "clients.partition: dirichlet",
}


def _flat(lines: Mapping[str, str], *, names_first: bool) -> Iterator[tuple[str, str]]:
    for left, right in lines.items():
        names, here = (left, right) if names_first else (right, left)
        yield from ((name, here) for name in names.split())


_NAMES = {**dict(_flat(SETTINGS, names_first=False)), **{name: "" for name, _ in _flat(INSTEAD, names_first=True)}}
_ADVICE = dict(_flat(INSTEAD, names_first=True))
_KINDS = dict(_flat(KINDS, names_first=True))


def name_here(name: str) -> str | None:
    """Return what a setting of another tool is here, as a part of a sentence; None if no other tool has it."""
    plain = name.strip("- ").lower().replace("-", "_")
    if plain not in _NAMES:
        return None
    return _ADVICE[plain] if plain in _ADVICE else f"here: {_NAMES[plain]}"


def kind_here(kind: str) -> str | None:
    """Return what a technique of another tool is here; None if no other tool has it."""
    found = _KINDS.get(kind.lower()) or _KINDS.get(kind.lower().replace("-", "_"))
    return f"here: {found}" if found else None
