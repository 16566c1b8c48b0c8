// Books a meeting with quorate. Exit codes: 0 booked, 1 not booked, 2 bad request, 3 no answer.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	quorate "quorate.example/go/gen/quoratev1"
)

const (
	notBooked  = 1
	badRequest = 2
	noAnswer   = 3

	tries    = 5
	patience = 30 * time.Second
)

// inDoubt tells whether nobody knows what became of the request. A broken connection shows as Unavailable or Unknown.
func inDoubt(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Unknown, codes.DeadlineExceeded:
		return true
	}
	return false
}

// schedule asks until there is an outcome. The same request id never books twice: a repeated call gets the first one's
// outcome. So the request must not change between the tries.
func schedule(client quorate.SchedulerServiceClient, request *quorate.ScheduleMeetingRequest) (*quorate.Meeting, error) {
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		response, err := client.ScheduleMeeting(ctx, request)
		cancel()
		if err == nil {
			return response.GetMeeting(), nil
		}
		if !inDoubt(err) || try == tries {
			return nil, err
		}
		wait := 200 * time.Millisecond << try
		fmt.Fprintf(os.Stderr, "%v; asking again in %v, as %s\n", err, wait, request.GetRequestId())
		time.Sleep(wait)
	}
}

// report prints what became of the meeting.
func report(meeting *quorate.Meeting) int {
	booked := meeting.GetState() == quorate.Meeting_STATE_CONFIRMED
	if booked {
		slot := meeting.GetSlot()
		from, until := slot.GetStartTime().AsTime(), slot.GetEndTime().AsTime()
		fmt.Printf("%v %s/%s %q as %s\n", meeting.GetState(), from.Format(time.RFC3339), until.Format(time.RFC3339),
			meeting.GetSpec().GetTitle(), meeting.GetMeetingId())
	} else {
		failure := meeting.GetFailure()
		fmt.Printf("%v %v %s\n", meeting.GetState(), failure.GetReason(), failure.GetMessage())
	}
	for _, attendee := range meeting.GetAttendees() {
		fmt.Printf("  %s %v %s\n", attendee.GetParticipantId(), attendee.GetStatus(), attendee.GetDetail())
	}
	for _, relaxation := range meeting.GetFailure().GetRelaxations() {
		fmt.Printf("  would do: %s\n", relaxation.GetMessage())
	}
	if !booked {
		return notBooked
	}
	return 0
}

// explain prints a refused request: the status, and each field that is wrong.
func explain(err error) int {
	refused := status.Convert(err)
	fmt.Fprintf(os.Stderr, "%v: %s\n", refused.Code(), refused.Message())
	for _, detail := range refused.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range bad.GetFieldViolations() {
				fmt.Fprintf(os.Stderr, "  %s: %s\n", violation.GetField(), violation.GetDescription())
			}
		}
	}
	if inDoubt(err) {
		return noAnswer
	}
	return badRequest
}

// newID gives a random id, as RFC 9562 has it (version 4).
func newID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// instant is a flag such as 2026-12-01T08:00:00Z.
type instant struct{ at *timestamppb.Timestamp }

func (i *instant) String() string { return "" }

func (i *instant) Set(text string) error {
	at, err := time.Parse(time.RFC3339, text)
	i.at = timestamppb.New(at)
	return err
}

func run() int {
	scheduler := flag.String("scheduler", "127.0.0.1:50051", "address of the scheduler")
	with := flag.String("with", "", "ids, with commas; everyone if left out")
	duration := flag.Duration("duration", 30*time.Minute, "how long")
	title := flag.String("title", "", "what the meeting is called")
	minimum := flag.Int("minimum", 0, "how many must attend; all if left out")
	zone := flag.String("zone", "", "IANA zone of the working hours, Monday to Friday 08:00 to 17:00")
	id := flag.String("request-id", newID(), "to ask again for the outcome of an earlier run")
	var earliest, latest instant
	flag.Var(&earliest, "from", "such as 2026-12-01T08:00:00Z; now if left out")
	flag.Var(&latest, "until", "the same")
	flag.Parse()

	spec := &quorate.MeetingSpec{
		Title:               *title,
		Duration:            durationpb.New(*duration),
		MinimumParticipants: int32(*minimum),
		Window:              &quorate.Window{Earliest: earliest.at, Latest: latest.at, TimeZone: *zone},
	}
	for _, participant := range strings.FieldsFunc(*with, func(r rune) bool { return r == ',' }) {
		spec.Attendees = append(spec.Attendees, &quorate.Attendee{ParticipantId: participant})
	}

	// Without TLS: for a scheduler on this machine, or behind a proxy that speaks it.
	connection, err := grpc.Dial(*scheduler, grpc.WithInsecure())
	if err != nil {
		return explain(err)
	}
	defer connection.Close()
	client := quorate.NewSchedulerServiceClient(connection)
	meeting, err := schedule(client, &quorate.ScheduleMeetingRequest{RequestId: *id, Spec: spec})
	if err != nil {
		return explain(err)
	}
	return report(meeting)
}

func main() {
	os.Exit(run())
}
