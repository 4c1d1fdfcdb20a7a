import copy
import pickle

import lightning.pytorch as pl
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn

from lightning_tricks import CutMix, Distillation, LabelSmoothing, Mixup, SoftTarget, SoftTargetError
from tests.plain import PlainModule, image_loader
from tests.teachers import CLASSES, Net, Student, naive_loss


def fit(make_trainer, callbacks, module=None, **kwargs):
    module = Student() if module is None else module
    trainer = make_trainer(**({"max_steps": 1} | kwargs), callbacks=callbacks)
    trainer.fit(module, image_loader(n=8))
    return module, trainer


@pytest.mark.parametrize(
    "kwargs", [{}, {"temperature": 2.0}, {"weight": 0.25}, {"weight": 0.0}, {"temperature": 20.0, "weight": 3.0}]
)
def test_the_loss_is_the_formula(make_trainer, kwargs):
    teacher = Net()
    module, _ = fit(make_trainer, [Distillation(teacher, **kwargs)])
    images, labels = module.seen
    with torch.no_grad():
        expected = naive_loss(module.logits, teacher.eval()(images), labels.hard, **kwargs)
    torch.testing.assert_close(module.losses[0], expected)


def test_kl_leaves_the_entropy_out(make_trainer):
    student = Student()
    module, _ = fit(make_trainer, [Distillation(copy.deepcopy(student.net), kl=True)], student)
    plain, _ = fit(make_trainer, [])
    torch.testing.assert_close(module.losses, plain.losses)


def test_several_teachers_average_their_probabilities(make_trainer):
    teachers = [Net(seed=1), Net(seed=2)]
    module, _ = fit(make_trainer, [Distillation(teachers, temperature=3.0)])
    images, labels = module.seen
    with torch.no_grad():
        mean = sum((teacher(images) / 3).softmax(1) for teacher in teachers) / 2
        expected = naive_loss(module.logits, 3 * mean.log(), labels.hard, temperature=3.0)
    torch.testing.assert_close(module.losses[0], expected)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_teacher_sees_the_final_images_whatever_its_place(make_trainer, place):
    teacher = Net()
    callbacks = [Mixup(alpha=1.0, seed=1), LabelSmoothing(0.1)]
    callbacks.insert(place, Distillation(teacher))
    module, _ = fit(make_trainer, callbacks)
    assert torch.equal(teacher.calls[0][3], module.seen[0])
    assert module.seen[1].label_smoothing == 0.1
    assert len(module.seen[1].components) == 2


def test_the_teacher_is_in_eval_mode_without_gradients_in_every_step(make_trainer):
    teacher = Net()
    module = Student()
    trick = Distillation(teacher)
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    before = copy.deepcopy(teacher.state_dict())
    teacher.train()  # somebody else's doing
    fit(make_trainer, [trick], module, max_steps=3, max_epochs=3)
    assert [call[:2] for call in teacher.calls] == [(False, False)] * 3
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_teacher_is_no_part_of_the_student(make_trainer, tmp_path):
    teacher = Net()
    module, trainer = fit(make_trainer, [Distillation(teacher), EMAWeightAveraging()])
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    checkpoint = torch.load(tmp_path / "run.ckpt", weights_only=True)
    own = {id(parameter) for parameter in teacher.parameters()}
    assert not own & {id(parameter) for parameter in module.parameters()}
    assert not any("body" in name for name in [*module.state_dict(), *checkpoint["state_dict"]])
    assert "body" not in str({key: value for key, value in checkpoint.items() if key != "state_dict"})


def test_the_teacher_runs_under_the_students_autocast(make_trainer):
    teacher = Net()
    fit(make_trainer, [Distillation(teacher)], precision="bf16-mixed")
    assert teacher.calls[0][2] == torch.bfloat16


def test_a_student_of_low_precision(make_trainer):
    teacher = Net()
    fit(make_trainer, [Distillation(teacher)], precision="bf16-true")
    assert teacher.calls[0][2] == torch.float32


def test_validation_is_left_alone(make_trainer):
    class Validated(Student):
        def validation_step(self, batch, batch_idx):
            assert type(batch[1]) is torch.Tensor

    teacher = Net()
    loader = image_loader(n=8)
    make_trainer(max_epochs=1, callbacks=[Distillation(teacher)]).fit(Validated(), loader, loader)
    assert len(teacher.calls) == 1


def test_a_plain_module_with_a_metric(make_trainer):
    make_trainer(callbacks=[CutMix(), Distillation(Net()), LabelSmoothing()]).fit(PlainModule(), image_loader())


def test_a_lightning_module_and_its_checkpoint_teach(make_trainer, tmp_path):
    class Teacher(Student):
        def forward(self, x):
            return self.net(x)

    trained, trainer = fit(make_trainer, [], Teacher())
    trainer.save_checkpoint(tmp_path / "teacher.ckpt")
    torch.save(trained.state_dict(), tmp_path / "plain.pt")
    for path in ("teacher.ckpt", "plain.pt"):
        fresh = Teacher()
        Distillation(fresh, teacher_checkpoint=str(tmp_path / path))
        assert torch.equal(fresh.net[1].weight, trained.net[1].weight)
    with pytest.raises(ValueError, match="into one teacher, but got 2"):
        Distillation([Teacher(), Teacher()], teacher_checkpoint=str(tmp_path / "plain.pt"))
    assert isinstance(fresh, pl.LightningModule)


@pytest.mark.parametrize(
    ("output", "pick"),
    [
        (lambda z: {"logits": z, "aux": 0}, "logits"),
        (lambda z: (0, z), 1),
        (lambda z: [z], 0),
        (lambda z: torch.nn.modules.adaptive._ASMoutput(z, z), "output"),
        (lambda z: {"deep": [z]}, lambda out: out["deep"][0]),
    ],
)
def test_teacher_output_picks_the_logits(make_trainer, output, pick):
    module, _ = fit(make_trainer, [Distillation(Net(output=output), teacher_output=pick)])
    plain, _ = fit(make_trainer, [Distillation(Net())])
    torch.testing.assert_close(module.losses, plain.losses)


@pytest.mark.parametrize(
    ("teacher", "kwargs", "error", "match"),
    [
        (Net(7), {}, ValueError, r"\(5 classes\).*\(7 classes\)"),
        (Net(output=lambda z: {"logits": z}), {}, TypeError, "got a dict with 'logits'; teacher_output="),
        (Net(output=lambda z: (z, z)), {}, TypeError, "got a tuple; teacher_output="),
        (
            Net(output=lambda z: {"logits": z}),
            {"teacher_output": "out"},
            ValueError,
            "no 'out' in .*with 'logits'",
        ),
        (Net(output=lambda z: (z,)), {"teacher_output": 3}, ValueError, "no 3 in .*a tuple"),
        (Net(output=lambda z: z * torch.nan), {}, ValueError, "got NaN from its teacher"),
        (Net(output=lambda z: z[:3]), {}, ValueError, r"labels of shape \(8,\), but got \(3, 5\)"),
    ],
)
def test_what_a_teacher_does_wrong_is_an_error_at_the_first_batch(make_trainer, teacher, kwargs, error, match):
    with pytest.raises(error, match=match):
        fit(make_trainer, [Distillation(teacher, **kwargs)])


def test_a_criterion_that_does_not_know_soft_targets(make_trainer):
    class Margin(Student):
        def training_step(self, batch, batch_idx):
            return nn.MultiMarginLoss()(self.net(batch[0]), batch[1])

    with pytest.raises(SoftTargetError, match="`multi_margin_loss`"):
        fit(make_trainer, [Distillation(Net())], Margin())


def test_yaml_names_the_teacher_by_its_class_and_its_checkpoint(tmp_path):
    torch.save(Net(seed=8).state_dict(), tmp_path / "teacher.pt")
    config = f"""
    class_path: lightning_tricks.Distillation
    init_args:
      teacher:
        class_path: tests.teachers.Net
        init_args:
          num_classes: 5
      teacher_checkpoint: {tmp_path / "teacher.pt"}
      temperature: 2.0
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--trick", type=pl.Callback)
    trick = parser.instantiate(parser.parse_object({"trick": yaml.safe_load(config)})).trick
    assert torch.equal(trick.teacher.body[3].weight, Net(seed=8).body[3].weight)


def test_it_pickles_and_meta_images_leave_the_teacher_whole():
    trick = pickle.loads(pickle.dumps(Distillation(nn.Linear(4, 5), temperature=2.0)))
    batch = (torch.zeros(2, 4), torch.tensor([0, 1]))
    assert trick(batch)[1].teachers == ((2.0, 1.0, False),)
    with pytest.raises(RuntimeError, match="meta"):
        trick((batch[0].to("meta"), batch[1].to("meta")))
    assert not trick.teacher.weight.is_meta


def test_targets_that_are_no_class_labels():
    for target in (torch.zeros(2, CLASSES), {"a": torch.tensor([0, 1])}):
        with pytest.raises(TypeError, match="Distillation needs class labels"):
            Distillation(Net(), p=0.0)((torch.zeros(2, 3, 6, 4), target))


def test_a_teacher_inside_the_student_is_refused(make_trainer):
    student = Student()
    trick = Distillation(student.net)
    with pytest.raises(MisconfigurationException, match=r"Distillation has frozen its teacher.*shares parameters"):
        fit(make_trainer, [trick], student)


@pytest.mark.parametrize("factor", [torch.nan, torch.inf])
def test_nan_is_an_error_each_time(factor):
    trick = Distillation(Net(output=lambda z: (z.abs() + 1) * factor))
    batch = (torch.zeros(2, 3, 6, 4), torch.tensor([0, 1]))
    for _ in range(2):
        with pytest.raises(ValueError, match="got NaN from its teacher"):
            trick(batch)


def test_each_teacher_sees_the_images_in_its_own_dtype():
    teachers = [nn.Linear(4, 5).bfloat16(), nn.Linear(4, 5)]
    images, labels = torch.rand(2, 4), torch.tensor([0, 1])
    taught = Distillation(teachers, temperature=1.0)((images, labels))[1]
    expected = SoftTarget.distil(labels, [teachers[0](images.bfloat16()), teachers[1](images)], temperature=1.0)
    z = torch.randn(2, 5)
    assert torch.equal(nn.functional.cross_entropy(z, taught), nn.functional.cross_entropy(z, expected))


@pytest.mark.parametrize(
    ("saved", "match"),
    [
        (nn.Linear(4, 5), "holds more than tensors and plain values; save the weights alone"),
        ([torch.zeros(2)], "holds a list"),
        ({"state_dict": {"net.weight": torch.zeros(5, 4)}}, r'Missing key\(s\) in state_dict: "weight"'),
        ({"weight": torch.zeros(5, 3), "bias": torch.zeros(5)}, "size mismatch for weight"),
    ],
)
def test_a_checkpoint_that_is_not_the_teachers(tmp_path, saved, match):
    torch.save(saved, tmp_path / "other.pt")
    need = r"Distillation needs a checkpoint with the state_dict of its teacher, a Linear, but .*other\.pt"
    with pytest.raises(ValueError, match=f"(?s){need}.*{match}"):
        Distillation(nn.Linear(4, 5), teacher_checkpoint=tmp_path / "other.pt")


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore::DeprecationWarning")
def test_a_scripted_teacher():
    teacher = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5))
    images, labels = torch.rand(2, 4), torch.tensor([0, 1])
    z = torch.randn(2, 5)
    scripted = Distillation(torch.jit.script(teacher))
    scripted.teacher.train()
    taught, expected = (trick((images, labels))[1] for trick in (scripted, Distillation(teacher)))
    assert not any(parameter.requires_grad for parameter in scripted.teacher.parameters())
    assert torch.equal(nn.functional.cross_entropy(z, taught), nn.functional.cross_entropy(z, expected))


def test_p():
    batch = (torch.zeros(2, 3, 6, 4), torch.tensor([0, 1]))
    z = torch.randn(2, CLASSES)
    undrawn = Distillation(Net(), p=0.0)(batch, rng=0)[1]
    assert torch.equal(nn.functional.cross_entropy(z, undrawn), nn.functional.cross_entropy(z, batch[1]))
    assert Distillation(Net())(batch, rng=0)[1].teachers == ((4.0, 1.0, False),)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "match"),
    [
        ((Net(),), {"temperature": 0.0}, ValueError, "Distillation needs temperature to be above 0"),
        ((Net(),), {"temperature": "4"}, TypeError, "Distillation needs temperature to be a number"),
        ((Net(),), {"weight": -1.0}, ValueError, "Distillation needs weight to be at least 0"),
        ((Net(),), {"kl": 1}, TypeError, "Distillation needs kl"),
        (([],), {}, ValueError, "at least one teacher"),
        ((["net"],), {}, TypeError, "a teacher that is a module, but got str"),
        ((Net(),), {"teacher_output": [0]}, TypeError, r"Distillation needs teacher_output to be a key.*got \[0\]"),
        ((Net(),), {"teacher_output": True}, TypeError, "Distillation needs teacher_output to be a key.*got True"),
        (
            (Net(),),
            {"teacher_checkpoint": 3},
            TypeError,
            "Distillation needs teacher_checkpoint to be a path, but got 3",
        ),
    ],
)
def test_bad_arguments(args, kwargs, error, match):
    with pytest.raises(error, match=match):
        Distillation(*args, **kwargs)


@pytest.mark.parametrize("kl", [True, False])
def test_batches_that_are_drawn_and_not_have_one_graph(kl):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    cross_entropy = nn.functional.cross_entropy
    compiled = torch.compile(cross_entropy, fullgraph=True, backend="aot_eager")
    teacher, labels, images = Net().eval(), torch.arange(7) % CLASSES, torch.randn(7, 3, 6, 4)
    trick, always = Distillation(teacher, p=0.5, kl=kl), Distillation(teacher, kl=kl)
    z = torch.randn(7, CLASSES, requires_grad=True)
    plain, taught = cross_entropy(z, labels), cross_entropy(z, always((images, labels))[1])
    drawn = 0
    for seed in range(6):
        got = compiled(z, trick((images, labels), rng=seed)[1])
        is_drawn = torch.allclose(got, taught)
        expected = taught if is_drawn else plain
        torch.testing.assert_close(got, expected)
        gradients = [torch.autograd.grad(loss, z, retain_graph=True) for loss in (got, expected)]
        torch.testing.assert_close(*gradients)
        drawn += is_drawn
    assert 0 < drawn < 6
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch._dynamo.reset()
