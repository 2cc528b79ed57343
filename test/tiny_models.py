# SPDX-License-Identifier: Apache-2.0
"""Models of every kind that the prompts use: tiny, random, saved as a download would be."""

import json
import string

import torch
import transformers

WORDS = ('a', 'photo', 'of', 'the', 'dog', 'cat', 'red', 'mug', 'swan', '.', ',')
LETTERS = string.ascii_lowercase


def seeded(make):
    """Make a model with the same random weights every time."""
    torch.manual_seed(0)
    return make().eval()


def clip_tokenizer(folder, length):
    """Save a CLIPTokenizer of single letters."""
    pieces = ['!', *LETTERS, *(f'{letter}</w>' for letter in f'{LETTERS}.,')]
    pieces += ['<|startoftext|>', '<|endoftext|>']
    (folder / 'vocab.json').write_text(json.dumps({piece: k for k, piece in enumerate(pieces)}))
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    settings = {'tokenizer_class': 'CLIPTokenizer', 'pad_token': '!', 'model_max_length': length}
    (folder / 'tokenizer_config.json').write_text(json.dumps(settings))
    return len(pieces)


def tower(**more):
    """Return the settings of a tiny transformer."""
    return {
        'hidden_size': 16,
        'intermediate_size': 32,
        'num_hidden_layers': 3,
        'num_attention_heads': 2,
        **more,
    }


def dinov2(folder, **more):
    """Save a DINOv2."""
    config = transformers.Dinov2Config(
        **tower(num_hidden_layers=2), image_size=56, patch_size=14, **more
    )
    seeded(lambda: transformers.Dinov2Model(config)).save_pretrained(folder)
    return folder


def dinov3(folder):
    """Save a DINOv3, which has registers and larger patches."""
    config = transformers.DINOv3ViTConfig(
        **tower(num_hidden_layers=2), image_size=64, patch_size=16, num_register_tokens=4
    )
    seeded(lambda: transformers.DINOv3ViTModel(config)).save_pretrained(folder)
    return folder


def clip_towers(words, length):
    """Return the settings of the towers of a CLIP: a text of so many tokens, 64 x 64 pixels."""
    text = tower(
        vocab_size=words, max_position_embeddings=length,
        bos_token_id=words - 2, eos_token_id=words - 1, pad_token_id=0,
    )  # fmt: skip
    return {'text_config': text, 'vision_config': tower(image_size=64, patch_size=16)}


def owlv2(folder):
    """Save an Owlv2 that sees 64 x 64 pixels in 16 places."""
    count = clip_tokenizer(folder, 16)
    config = transformers.Owlv2Config(**clip_towers(count, 16), projection_dim=16)
    seeded(lambda: transformers.Owlv2ForObjectDetection(config)).save_pretrained(folder)
    return folder


def clipseg(folder):
    """Save a CLIPSeg of 64 x 64 pixels."""
    count = clip_tokenizer(folder, 77)
    config = transformers.CLIPSegConfig(
        **clip_towers(count, 77), projection_dim=16, reduce_dim=8, extract_layers=[0, 1, 2],
        decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    seeded(lambda: transformers.CLIPSegForImageSegmentation(config)).save_pretrained(folder)
    return folder


def grounding_dino(folder):
    """Save a GroundingDINO."""
    vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *WORDS]
    (folder / 'vocab.txt').write_text('\n'.join(vocabulary))
    settings = {'tokenizer_class': 'BertTokenizer', 'do_lower_case': True}
    (folder / 'tokenizer_config.json').write_text(json.dumps(settings))
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            image_size=128, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2],
            window_size=4, out_features=['stage2', 'stage3', 'stage4'],
        ),
        text_config=transformers.BertConfig(
            **tower(num_hidden_layers=1), vocab_size=len(vocabulary)
        ),
        use_timm_backbone=False, disable_custom_kernels=True, d_model=32, num_queries=20,
        encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32,
    )  # fmt: skip
    seeded(lambda: transformers.GroundingDinoForObjectDetection(config)).save_pretrained(folder)
    return folder


def siglip(folder):
    """Save a SigLIP with a real sentencepiece vocabulary, learned from the words above."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*WORDS, LETTERS, ' '.join(LETTERS), 'a photo of a dog.']),
        model_prefix=str(folder / 'spiece'), vocab_size=60, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    settings = {'tokenizer_class': 'SiglipTokenizer', 'model_max_length': 16, 'pad_token': '</s>'}
    (folder / 'tokenizer_config.json').write_text(json.dumps(settings))
    count = sentencepiece.SentencePieceProcessor(str(folder / 'spiece.model')).vocab_size()
    config = transformers.SiglipConfig(
        text_config=tower(vocab_size=count, max_position_embeddings=16),
        vision_config=tower(image_size=32, patch_size=16),
    )
    seeded(lambda: transformers.SiglipModel(config)).save_pretrained(folder)
    return folder


def word_tokenizer(folder):
    """Save a tokenizer of whole words."""
    import tokenizers

    pieces = ['<unk>', '<s>', '</s>', *WORDS]
    model = tokenizers.models.WordLevel({word: k for k, word in enumerate(pieces)}, '<unk>')
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token='<unk>', bos_token='<s>', eos_token='</s>'
    ).save_pretrained(folder)
    return len(pieces)


def moonshine(folder):
    """Save a Moonshine."""
    count = word_tokenizer(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    config = transformers.MoonshineConfig(
        vocab_size=count, hidden_size=32, intermediate_size=64, encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=1, encoder_num_attention_heads=2, decoder_num_attention_heads=2,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, pad_token_id=2,
    )  # fmt: skip
    make = lambda: transformers.MoonshineForConditionalGeneration(config)  # noqa: E731
    seeded(make).save_pretrained(folder)
    return folder


def whisper(folder):
    """Save a Whisper that hears one second."""
    count = word_tokenizer(folder)
    transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=1).save_pretrained(folder)
    config = transformers.WhisperConfig(
        vocab_size=count, d_model=16, num_mel_bins=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, max_source_positions=50, max_target_positions=32,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, pad_token_id=2,
        begin_suppress_tokens=None, suppress_tokens=None,
    )  # fmt: skip
    make = lambda: transformers.WhisperForConditionalGeneration(config)  # noqa: E731
    seeded(make).save_pretrained(folder)
    return folder
